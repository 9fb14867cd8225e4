"""The engine's streams for readers on an event loop."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, closing, suppress
from functools import partial
from queue import SimpleQueue
from typing import Any

from gac.core import Event, GenerateRequest
from gac.engine.engine import Engine
from gac.engine.stream import Stream
from gac.errors import GacError
from gac.server.request_metrics import RequestMetrics

Receive = Callable[[], Awaitable[Any]]


class ClientClosedRequest(GacError):
    """The client went away before its answer was complete; caught inside the server."""

    http_status = 499


class Batches(AsyncIterator[list[Event]]):
    """Iterates over the events of a stream in batches: all that came since the last one.

    Each batch is shown to `observe` first.
    """

    def __init__(self, stream: Stream, observe: Callable[[Iterable[Event]], None]) -> None:
        self.news = asyncio.Event()
        self.stream = stream
        self._observe = observe
        self._is_client_gone = False

    async def __anext__(self) -> list[Event]:
        """Raises: ClientClosedRequest if the client has gone away."""
        while not self.stream.ended:
            self.news.clear()
            if self._is_client_gone:
                raise ClientClosedRequest("the client went away")
            if events := self.stream.take():
                self._observe(events)
                return events
            await self.news.wait()
        raise StopAsyncIteration

    def note_client_gone(self, *_: object) -> None:
        """Have the next read raise ClientClosedRequest."""
        self._is_client_gone = True
        self.news.set()


class Bridge:
    """Wakes readers on an event loop; one `call_soon_threadsafe` serves all that are ready."""

    def __init__(self, metrics: RequestMetrics) -> None:
        self._metrics = metrics
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
        with (
            engine.stream(requests) as stream,
            closing(self._metrics.reading(requests, submitted_at)) as reading,
        ):
            batches = Batches(stream, reading.take)
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
