"""One POST that was accepted."""

from collections.abc import Sequence
from dataclasses import dataclass

from gac.core import GenerateRequest
from gac.engine.client_request import ClientRequest
from gac.engine.engine import Engine
from gac.engine.service import Service


@dataclass(frozen=True)
class Job:
    """What a client asks for, and what the engine makes of it."""

    service: Service
    asked: ClientRequest
    requests: Sequence[GenerateRequest]
    started_at: float
    """By `time.monotonic`."""
    traced_bytes: int
    """The most memory that its traces may take."""

    @property
    def engine(self) -> Engine:
        """The engine that generates it.  Raises: EngineUnavailable if it has failed."""
        return self.service.engine
