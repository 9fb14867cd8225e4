"""Answers on their way to a client: whole, or as server-sent events while they are written."""

import asyncio
import logging
from collections.abc import Iterable

from pydantic_core import to_json
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gac.core import ErrorEvent, Event, FinishReason
from gac.engine.stream import EVENTS_PER_TEXT
from gac.engine.writer import Collector
from gac.errors import EngineUnavailable, GacError
from gac.server.answers import Job
from gac.server.errors import error_body
from gac.server.request_log import RequestLog
from gac.server.streaming import Batches, Bridge, ClientClosedRequest
from gac.server.trace_budget import TraceBudget

logger = logging.getLogger(__name__)

PING_S = 10.0
"""After so long without an event a comment is sent, so that no proxy closes the connection."""
PING = b": still working\n\n"


class _EngineResponse(Response):
    """A response whose content the engine generates while the response is open."""

    def __init__(self, job: Job, bridge: Bridge, budget: TraceBudget) -> None:
        super().__init__()
        self._job = job
        self._bridge = bridge
        self._budget = budget
        self._log = RequestLog(job.requests, job.started_at)
        self._collector = Collector(job.requests, keep_tokens=bool(job.body.trace))

    async def _whole(self, first_at: float | None) -> bytes:
        """The JSON of the whole answer; a large one is made on a worker thread.

        Raises: EngineUnavailable if the end of the server cut a text short.
        """
        texts = self._collector.texts()
        if any(text.finish.reason is FinishReason.ABORT for text in texts):
            raise EngineUnavailable("the server is shutting down", code="engine_unavailable")
        hints = self._job.hints(texts)
        self._log.end(texts, first_at, hints)
        if self._job.body.trace:
            return await run_in_threadpool(self._job.answer, texts, hints)
        return self._job.answer(texts, hints)


class WholeAnswer(_EngineResponse):
    """Sent when all texts have ended."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read all events, then respond.  Raises: what a request failed with."""
        try:
            with self._budget.hold(self._job.traced_bytes):
                body = await self._all_read(receive)
                await Response(body, media_type="application/json")(scope, receive, send)
        except ClientClosedRequest:
            self._log.client_left()

    async def _all_read(self, receive: Receive) -> bytes:
        requests = self._job.requests
        num_events = EVENTS_PER_TEXT * len(requests) // 2  # wake up seldom
        async with self._bridge.read(self._job.engine, requests, receive, num_events) as batches:
            async for events in batches:
                for event in events:
                    self._collector.take(event)
        return await self._whole(batches.stream.first_at)


class EventStream(_EngineResponse):
    """Server-sent events: one for each piece of text, and the whole answer as the last."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events as they come.

        Nothing is sent before the first event or ping, so that an error until then has its own
        status.  Raises: what a request failed with until then.
        """
        self._send = send
        self._has_begun = False
        try:
            job = self._job
            with self._budget.hold(job.traced_bytes):
                async with self._bridge.read(job.engine, job.requests, receive) as batches:
                    await self._send_pieces(batches)
                whole = await self._whole(batches.stream.first_at)
                await self._send_body(_frame(whole, "end"), more=False)
        except ClientClosedRequest:
            self._log.client_left()
        except Exception as error:
            if not self._has_begun:
                raise
            if not isinstance(error, GacError):
                logger.exception("a stream failed")
                error = GacError("internal error; the server's log has the details")
            self._log.failed(error)
            await self._send_body(_frame(to_json(error_body(error)), "error"), more=False)

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

    async def _pieces(self, events: Iterable[Event]) -> bytes:
        if self._job.body.trace:
            return await run_in_threadpool(self._frames, events)
        return self._frames(events)

    def _frames(self, events: Iterable[Event]) -> bytes:
        return b"".join(map(_frame, self._job.pieces(events)))

    async def _send_body(self, body: bytes, more: bool = True) -> None:
        if not self._has_begun:
            self._has_begun = True
            headers = [
                (b"content-type", b"text/event-stream; charset=utf-8"),
                (b"cache-control", b"no-cache"),
                (b"x-accel-buffering", b"no"),  # nginx would hold events back
            ]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        await self._send({"type": "http.response.body", "body": body, "more_body": more})


def _frame(data: bytes, event: str = "") -> bytes:
    """One server-sent event; JSON has no line breaks."""
    name = f"event: {event}\n".encode() if event else b""
    return name + b"data: " + data + b"\n\n"
