"""Run requests through an engine and wait for what they wrote."""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from gac.config import EveryStepConfig
from gac.core import ErrorEvent, Event, FinishEvent, GenerateRequest, TokenEvent
from gac.decoding.decide import Decider
from gac.decoding.every_step import every_step
from gac.decoding.flow import Decide, Strategy
from gac.decoding.strategies import StrategyMaker
from gac.engine.engine import Engine
from gac.engine.ensemble import Ensemble
from gac.engine.limits import EngineLimits
from gac.engine.speculation import Speculation
from gac.members.inbox import Inbox


@dataclass
class Written:
    """All events of one request; a sink that is never full."""

    tokens: list[TokenEvent] = field(default_factory=list)
    end: FinishEvent | ErrorEvent | None = None
    done: threading.Event = field(default_factory=threading.Event)

    def put(self, event: Event) -> None:
        assert self.end is None, "an event after the end"
        if isinstance(event, TokenEvent):
            self.tokens.append(event)
        else:
            self.end = event
            self.done.set()

    def is_full(self) -> bool:
        return False

    @property
    def finish(self) -> FinishEvent:
        assert isinstance(self.end, FinishEvent), self.end
        return self.end

    @property
    def token_bytes(self) -> list[bytes]:
        return [event.token_bytes for event in self.tokens]

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.tokens) + self.finish.text


@dataclass(frozen=True)
class Scripted(StrategyMaker):
    """A strategy that a test wrote itself, decided by as if at every step."""

    config: EveryStepConfig = EveryStepConfig()
    script: Callable[[tuple[str, ...], Decide], Strategy] = every_step

    def __call__(self, members: tuple[str, ...], decide: Decider) -> Strategy:
        return self.script(members, decide)


class Running:
    """An engine that a test talks to; a context manager."""

    def __init__(
        self,
        ensemble: Ensemble,
        strategy: StrategyMaker,
        limits: EngineLimits | None = None,
        speculation: Speculation | None = None,
        inbox: Inbox | None = None,
    ) -> None:
        self.engine = Engine(ensemble, strategy, limits, speculation, inbox)
        self.written: dict[str, Written] = {}

    def __enter__(self) -> "Running":
        self.engine.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.engine.stop()

    def submit(self, requests: Sequence[GenerateRequest]) -> list[Written]:
        for request in requests:
            self.written[request.request_id] = Written()
        reader = threading.Thread(
            target=self._read, args=[self.engine.stream(requests)], daemon=True
        )
        reader.start()
        return [self.written[request.request_id] for request in requests]

    def _read(self, events: Iterable[Event]) -> None:
        for event in events:
            self.written[event.request_id].put(event)

    def write(self, requests: Sequence[GenerateRequest], timeout_s: float = 60.0) -> list[Written]:
        written = self.submit(requests)
        for one in written:
            assert one.done.wait(timeout_s), "the engine hangs"
        return written
