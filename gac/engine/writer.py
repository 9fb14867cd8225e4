"""Write some texts and wait for them: the engine for callers without an event loop."""

import threading
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


def write(engine: Engine, requests: Sequence[GenerateRequest]) -> list[WrittenText]:
    """The texts of all requests, in their order.

    Raises: whatever a request failed with, or was refused with.
    """
    tokens: dict[str, list[TokenEvent]] = {request.request_id: [] for request in requests}
    ends: dict[str, FinishEvent | ErrorEvent] = {}
    all_ended = threading.Event()

    def take(event: Event) -> None:
        if isinstance(event, TokenEvent):
            tokens[event.request_id].append(event)
        else:
            ends[event.request_id] = event
            if len(ends) == len(requests):
                all_ended.set()

    if requests:
        engine.submit(requests, take)
        all_ended.wait()
    return [_text(tokens[r.request_id], ends[r.request_id]) for r in requests]


def _text(tokens: Sequence[TokenEvent], end: FinishEvent | ErrorEvent) -> WrittenText:
    if isinstance(end, ErrorEvent):
        raise end.error
    return WrittenText("".join(event.text for event in tokens) + end.text, end, tuple(tokens))
