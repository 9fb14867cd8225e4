"""The original's way to ask: POST /api/generate."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from gac.core import FinishEvent, FinishReason, GenerateRequest
from gac.engine.client_request import ClientRequest
from gac.engine.requests import check_limits, prepare
from gac.engine.service import Service
from gac.errors import EngineUnavailable, GacError, RequestError
from gac.server.collect import Collector
from gac.server.schemas import ConversationTrace, GenerateAnswer, GenerateBody, Usage
from gac.server.traces import conversation_trace

MAX_CANDIDATES = 1_000_000
"""In the traces of one answer, which are held until all is written; some 75 bytes of JSON each."""


class ClientClosedRequest(GacError):
    """The client went away before its answer was complete; nobody reads this."""

    http_status = 499


def gac_router(service: Service) -> APIRouter:
    """Routes over a service that may still be loading."""
    router = APIRouter()

    options: dict[str, Any] = {
        "response_model": GenerateAnswer,
        "response_model_exclude_unset": True,  # no trace where none was asked for
    }

    @router.post("/api/generate/", **options)
    @router.post("/api/generate", **options, include_in_schema=False)
    async def generate(body: GenerateBody, request: Request) -> GenerateAnswer:
        started_at = time.monotonic()
        engine = service.engine
        asked = body.request()
        check_limits(service.config, asked)  # before a worker is waited for
        _check_candidates(service, body)
        engine.check_open(len(asked.messages_list))
        requests = await run_in_threadpool(_prepared, service, asked)
        collector = Collector([one.request_id for one in requests])
        engine.submit(requests, collector.take)
        try:
            await _until_done(collector.done, request.receive)
        except BaseException:  # an error, or nobody waits any more
            for one in requests:
                engine.abort(one.request_id)
            raise
        ends = collector.ends()
        if any(end.reason is FinishReason.ABORT for end in ends):
            raise EngineUnavailable("the server is shutting down", code="engine_unavailable")
        answer = _answer(collector.texts(), ends, time.monotonic() - started_at)
        if body.trace:
            trace = await run_in_threadpool(_traces, service, body, requests, collector)
            return answer.model_copy(update={"trace": trace})
        return answer

    return router


def _prepared(service: Service, request: ClientRequest) -> list[GenerateRequest]:
    """The engine's requests; runs on a worker thread."""
    # Again: the server may have filled before a worker was free.
    service.engine.check_open(len(request.messages_list))
    return prepare(service.config, service.started, request)


def _check_candidates(service: Service, body: GenerateBody) -> None:
    """A token's trace lists candidates of every member, and of their combined distribution."""
    num_texts, num_lists = len(body.messages_list), len(service.config.members) + 1
    count = num_texts * body.max_new_tokens * body.trace * num_lists
    if count > MAX_CANDIDATES:
        raise RequestError(
            f"trace: {num_texts} conversations x max_new_tokens {body.max_new_tokens} x trace "
            f"{body.trace} x {num_lists} (members + 1) = {count} candidates exceed the limit of "
            f"{MAX_CANDIDATES}; lower one of them",
            param="trace",
        )


async def _until_done(done: "asyncio.Future[None]", receive: Callable[[], Awaitable[Any]]) -> None:
    """Wait for the answers; raise ClientClosedRequest if the client goes away first."""

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    leaving = asyncio.ensure_future(gone())
    try:
        await asyncio.wait({done, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not done.done():
            done.cancel()
            raise ClientClosedRequest("the client went away")
        done.result()
    finally:
        leaving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await leaving


def _traces(
    service: Service,
    body: GenerateBody,
    requests: Sequence[GenerateRequest],
    collector: Collector,
) -> list[ConversationTrace]:
    """The traces of all conversations; they may be large, so it runs on a worker thread."""
    told = zip(requests, collector.traced(), collector.ends(), strict=True)
    return [conversation_trace(service, body, place, *one) for place, one in enumerate(told)]


def _answer(texts: Sequence[str], ends: Sequence[FinishEvent], total_time: float) -> GenerateAnswer:
    num_tokens = sum(end.completion_tokens for end in ends)
    return GenerateAnswer(
        response=list(texts),
        total_time=total_time,
        num_tokens=num_tokens,
        num_tokens_per_sec=num_tokens / total_time,
        finish_reasons=[end.reason.value for end in ends],
        usage=[
            Usage(prompt_tokens=dict(end.prompt_tokens), completion_tokens=end.completion_tokens)
            for end in ends
        ],
        ensembled_token_ratio=[
            end.ensembled_tokens / max(end.completion_tokens, 1) for end in ends
        ],
        abstained_members=[list(end.abstained) for end in ends],
    )
