"""Events collected into whole texts."""

from collections.abc import Sequence
from dataclasses import dataclass

from gac.core import ErrorEvent, Event, FinishEvent, GenerateRequest, TokenEvent
from gac.engine.engine import Engine


@dataclass(frozen=True, slots=True)
class WrittenText:
    """A finished text and how it ended."""

    text: str
    finish: FinishEvent
    tokens: tuple[TokenEvent, ...] = ()


class Collector:
    """Gathers the events of some requests; its tokens only if they are to be kept."""

    def __init__(self, requests: Sequence[GenerateRequest], keep_tokens: bool = True) -> None:
        self._keep_tokens = keep_tokens
        self._pieces: dict[str, list[str]] = {one.request_id: [] for one in requests}
        self._tokens: dict[str, list[TokenEvent]] = {one.request_id: [] for one in requests}
        self._ends: dict[str, FinishEvent] = {}

    def take(self, event: Event) -> None:
        """Take in an event.  Raises: what the request failed with."""
        if isinstance(event, ErrorEvent):
            raise event.error
        self._pieces[event.request_id].append(event.text)
        if isinstance(event, FinishEvent):
            self._ends[event.request_id] = event
        elif self._keep_tokens:
            self._tokens[event.request_id].append(event)

    def texts(self) -> list[WrittenText]:
        """The texts in the order of the requests, all of which have ended."""
        return [
            WrittenText("".join(pieces), self._ends[name], tuple(self._tokens[name]))
            for name, pieces in self._pieces.items()
        ]


def write(engine: Engine, requests: Sequence[GenerateRequest]) -> list[WrittenText]:
    """The texts of all requests, in their order; waits for them.

    Raises: whatever a request failed with, or was refused with.
    """
    collector = Collector(requests)
    with engine.stream(requests) as events:
        for event in events:
            collector.take(event)
    return collector.texts()
