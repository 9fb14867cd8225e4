"""The engine's streams for readers on an event loop."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import ExitStack, asynccontextmanager, closing, suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, Protocol

from gac.core import Event, GenerateRequest
from gac.engine.engine import Engine
from gac.engine.stream import Stream
from gac.errors import GacError

Receive = Callable[[], Awaitable[Any]]


class ClientClosedRequest(GacError):
    """The client went away before its answer was complete; caught inside the server."""

    http_status = 499


class Reading(Protocol):
    """Sees the events of one stream as they are read."""

    def take(self, events: Iterable[Event]) -> None:
        """Observe some events."""

    def close(self) -> None:
        """Nothing more is read; what has not ended is aborted."""


class Observer(Protocol):
    """Observes all streams of an application."""

    def reading(self, requests: Sequence[GenerateRequest], submitted_at: float) -> Reading:
        """What observes the events of these requests, which were given to the engine just now."""


class Batches(AsyncIterator[list[Event]]):
    """Iterates over the events of a stream in batches: all that came since the last one.

    Each batch is shown to all `readings` first.
    """

    def __init__(self, stream: Stream, readings: Sequence[Reading]) -> None:
        self.news = asyncio.Event()
        self.stream = stream
        self._readings = readings
        self._is_client_gone = False

    async def __anext__(self) -> list[Event]:
        """Raises: ClientClosedRequest if the client has gone away."""
        while not self.stream.ended:
            self.news.clear()
            if self._is_client_gone:
                raise ClientClosedRequest("the client went away")
            if events := self.stream.take():
                for reading in self._readings:
                    reading.take(events)
                return events
            await self.news.wait()
        raise StopAsyncIteration

    def note_client_gone(self, *_: object) -> None:
        """Have the next read raise ClientClosedRequest."""
        self._is_client_gone = True
        self.news.set()


class Bridge:
    """Wakes readers on an event loop; one `call_soon_threadsafe` serves all that are ready."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers
        self._ready: SimpleQueue[asyncio.Event] = SimpleQueue()
        self._is_wake_scheduled = False

    @asynccontextmanager
    async def read(
        self,
        engine: Engine,
        requests: Sequence[GenerateRequest],
        receive: Receive,
        num_events: int = 1,
    ) -> AsyncIterator[Batches]:
        """The events of these requests in batches, of `num_events` or more if that is possible.

        What still runs is aborted when the block is left, for whatever reason.
        Raises: what `Engine.stream` raises.
        """
        loop = asyncio.get_running_loop()
        submitted_at = time.monotonic()
        with engine.stream(requests) as stream, ExitStack() as stack:
            readings = [one.reading(requests, submitted_at) for one in self._observers]
            for reading in readings:
                stack.enter_context(closing(reading))
            batches = Batches(stream, readings)
            stream.call_when_ready(partial(self._wake, loop, batches.news), num_events)
            leaving = loop.create_task(_disconnect(receive))
            leaving.add_done_callback(batches.note_client_gone)
            try:
                yield batches
            finally:
                leaving.cancel()
                with suppress(asyncio.CancelledError):
                    await leaving

    def _wake(self, loop: asyncio.AbstractEventLoop, news: asyncio.Event) -> None:
        """Called on the engine's thread."""
        self._ready.put(news)
        if not self._is_wake_scheduled:
            self._is_wake_scheduled = True
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(self._wake_all)

    def _wake_all(self) -> None:
        # Before the queue is read, so that what becomes ready from now on schedules a call again.
        self._is_wake_scheduled = False
        while not self._ready.empty():
            self._ready.get_nowait().set()


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
