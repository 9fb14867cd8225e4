"""Write some texts and wait for them: the engine for callers without an event loop."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from gac.core import ErrorEvent, Event, FinishEvent, GenerateRequest, TokenEvent
from gac.engine.engine import Engine


@dataclass(frozen=True, slots=True)
class Text:
    """A finished text and how it ended."""

    text: str
    finish: FinishEvent


def write(engine: Engine, requests: Sequence[GenerateRequest]) -> list[Text]:
    """The texts of all requests, in their order.

    Raises: whatever a request failed with, or was refused with.
    """
    pieces: dict[str, list[str]] = {request.request_id: [] for request in requests}
    ends: dict[str, FinishEvent | ErrorEvent] = {}
    all_ended = threading.Event()

    def take(event: Event) -> None:
        if not isinstance(event, ErrorEvent):
            pieces[event.request_id].append(event.text)
        if not isinstance(event, TokenEvent):
            ends[event.request_id] = event
            if len(ends) == len(requests):
                all_ended.set()

    if requests:
        engine.submit(requests, take)
        all_ended.wait()
    return [_text("".join(pieces[r.request_id]), ends[r.request_id]) for r in requests]


def _text(text: str, end: FinishEvent | ErrorEvent) -> Text:
    if isinstance(end, ErrorEvent):
        raise end.error
    return Text(text, end)
