"""Answers on their way to a client: whole, or as server-sent events while they are written.

Reads the engine's events and knows when what is sent; what it looks like is the `Shape`'s.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gac.core import ErrorEvent, Event, FinishReason
from gac.engine.hints import hints_for
from gac.engine.stream import EVENTS_PER_TEXT
from gac.engine.writer import Collector, WrittenText
from gac.errors import EngineUnavailable, GacError
from gac.server.job import Job
from gac.server.request_log import RequestLog
from gac.server.shape import Shape
from gac.server.streaming import Batches, Bridge, ClientClosedRequest
from gac.server.trace_budget import TraceBudget, field_of

logger = logging.getLogger(__name__)

PING_S = 10.0
"""After so long without an event a comment is sent, so that no proxy closes the connection."""
PING = b": still working\n\n"

Last = Callable[[Sequence[WrittenText], Sequence[str]], bytes]
"""What is made of all texts, and of hints on them."""


class _EngineResponse(Response):
    """A response whose content the engine generates while the response is open."""

    def __init__(self, job: Job, shape: Shape, bridge: Bridge, budget: TraceBudget) -> None:
        super().__init__()
        self._job = job
        self._shape = shape
        self._bridge = bridge
        self._budget = budget
        self._log = RequestLog(job.requests, job.started_at)
        asked = job.asked
        self._is_large = bool(asked.trace) or asked.logprobs is not None
        self._collector = Collector(job.requests, keep_tokens=self._needs_tokens)

    @property
    def _needs_tokens(self) -> bool:
        """Whether what is sent last is made of the tokens, too."""
        return self._is_large

    def _held(self) -> AbstractContextManager[None]:
        """Reserves the memory of what it tells of tokens."""
        return self._budget.hold(self._job.traced_bytes, field_of(self._job.asked))

    async def _last(self, make: Last, first_at: float | None) -> bytes:
        """What is sent when all texts are written; a large answer is made on a worker thread.

        Raises: EngineUnavailable if the end of the server cut a text short.
        """
        texts = self._collector.texts()
        if any(text.finish.reason is FinishReason.ABORT for text in texts):
            raise EngineUnavailable("the server is shutting down", code="engine_unavailable")
        hints = self._hints(texts)
        self._log.end(texts, first_at, hints)
        if self._is_large:
            return await run_in_threadpool(make, texts, hints)
        return make(texts, hints)

    def _hints(self, texts: Sequence[WrittenText]) -> list[str]:
        """Hints for the client, e.g. that a chat template was not applied."""
        tokenizers = self._job.service.started.tokenizers
        writers = (tokenizers[name] for name in self._job.requests[0].prompts)
        return hints_for(self._job.asked, writers, texts)


class WholeAnswer(_EngineResponse):
    """Sent when all texts have ended."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read all events, then respond.  Raises: what a request failed with."""
        headers = dict(self._shape.headers)
        try:
            with self._held():
                body = await self._all_read(receive)
                whole = Response(body, headers=headers, media_type="application/json")
                await whole(scope, receive, send)
        except ClientClosedRequest:
            self._log.client_left()
        except GacError as error:
            raise self._shape.in_client_words(error) from error

    async def _all_read(self, receive: Receive) -> bytes:
        requests = self._job.requests
        num_events = EVENTS_PER_TEXT * len(requests) // 2  # wake up seldom
        async with self._bridge.read(self._job.engine, requests, receive, num_events) as batches:
            async for events in batches:
                for event in events:
                    self._collector.take(event)
        return await self._last(self._shape.whole, batches.stream.first_at)


class EventStream(_EngineResponse):
    """Server-sent events: some for each batch of the engine's events, and then the end."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events as they come.

        Nothing is sent before the first event or ping, so that an error until then has its own
        status.  Raises: what a request failed with until then.
        """
        self._send = send
        self._has_begun = False
        self._beginning = self._shape.begin()
        try:
            job = self._job
            with self._held():
                async with self._bridge.read(job.engine, job.requests, receive) as batches:
                    await self._send_pieces(batches)
                last = await self._last(self._shape.end, batches.stream.first_at)
                await self._send_body(last, more=False)
        except ClientClosedRequest:
            self._log.client_left()
        except Exception as error:
            await self._fail(error)

    @property
    def _needs_tokens(self) -> bool:
        """Likelihoods have been sent by then."""
        return bool(self._job.asked.trace)

    async def _fail(self, error: Exception) -> None:
        """End the stream with an error.  Raises: the error, if nothing was sent before it."""
        if isinstance(error, GacError):
            error = self._shape.in_client_words(error)
        if not self._has_begun:
            raise error
        if not isinstance(error, GacError):
            logger.error("a stream failed", exc_info=error)
            error = GacError("internal error; the server's log has the details")
        self._log.failed(error)
        await self._send_body(self._shape.broken(error), more=False)

    async def _send_pieces(self, batches: Batches) -> None:
        while True:
            try:
                async with asyncio.timeout(PING_S):
                    events = await anext(batches, None)
            except TimeoutError:
                await self._send_body(PING)
                continue
            if events is None:
                return
            failed = [event.error for event in events if isinstance(event, ErrorEvent)]
            if failed and not self._has_begun:
                raise failed[0]
            if pieces := await self._pieces(events):
                await self._send_body(pieces)
            for event in events:
                self._collector.take(event)

    async def _pieces(self, events: Sequence[Event]) -> bytes:
        written = [event for event in events if not isinstance(event, ErrorEvent)]
        if self._job.asked.trace:
            return await run_in_threadpool(self._shape.pieces, written)
        return self._shape.pieces(written)

    async def _send_body(self, body: bytes, more: bool = True) -> None:
        if not self._has_begun:
            self._has_begun = True
            shape_headers = self._shape.headers.items()
            headers = [
                (b"content-type", b"text/event-stream; charset=utf-8"),
                (b"cache-control", b"no-cache"),
                (b"x-accel-buffering", b"no"),  # nginx would hold events back
                *((name.lower().encode(), value.encode()) for name, value in shape_headers),
            ]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
            body = self._beginning + body
        await self._send({"type": "http.response.body", "body": body, "more_body": more})
