"""Not streaming is collecting the stream: all events of some requests into their ends."""

import asyncio
import contextlib
from collections.abc import Sequence

from gac.core import ErrorEvent, Event, FinishEvent, TokenEvent


class Collector:
    """Gathers the texts of several requests; the future `done` is set when all have ended.

    `take` runs on the engine's thread and wakes the event loop only once.
    """

    def __init__(self, request_ids: Sequence[str]) -> None:
        self._loop = asyncio.get_running_loop()
        self._pieces: dict[str, list[str]] = {request_id: [] for request_id in request_ids}
        self._traced: dict[str, list[TokenEvent]] = {request_id: [] for request_id in request_ids}
        self._ends: dict[str, FinishEvent] = {}
        self.done: asyncio.Future[None] = self._loop.create_future()

    def take(self, event: Event) -> None:
        """Take in an event."""
        if isinstance(event, TokenEvent):
            self._pieces[event.request_id].append(event.text)
            if event.trace is not None:
                self._traced[event.request_id].append(event)
        elif isinstance(event, ErrorEvent):
            self._settle(event.error)
        else:
            self._pieces[event.request_id].append(event.text)
            self._ends[event.request_id] = event
            if len(self._ends) == len(self._pieces):
                self._settle(None)

    def _settle(self, error: Exception | None) -> None:
        def settle() -> None:
            if self.done.done():
                return
            if error is None:
                self.done.set_result(None)
            else:
                self.done.set_exception(error)

        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(settle)

    def texts(self) -> list[str]:
        """The texts, in the order of the requests."""
        return ["".join(pieces) for pieces in self._pieces.values()]

    def ends(self) -> list[FinishEvent]:
        """The ends, in the order of the requests."""
        return [self._ends[request_id] for request_id in self._pieces]

    def traced(self) -> list[list[TokenEvent]]:
        """The tokens of those that are traced, in the order of the requests."""
        return list(self._traced.values())
