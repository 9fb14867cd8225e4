"""The original's way to ask: POST /api/generate."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from gac.core import FinishEvent, FinishReason, GenerateRequest
from gac.engine.choice import choose
from gac.engine.prompts import build_prompts, check_room
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
        _check_limits(service, body)  # before a worker is waited for
        requests = await run_in_threadpool(engine_requests, service, body)
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


def engine_requests(service: Service, body: GenerateBody) -> list[GenerateRequest]:
    """One engine request a conversation; renders and encodes, so it runs on a worker thread.

    Raises: RequestError naming the field that asks for what there is not, and what `submit` raises.
    """
    _check_limits(service, body)  # again: the server may have filled before a worker was free
    started = service.started
    choice = choose(service.config, body.wishes(), body.sampling())
    tokenizers = {name: started.tokenizers[name] for name in choice.members}
    batch_id = uuid.uuid4().hex
    requests = []
    for place, conversation in enumerate(body.messages_list):
        messages = [message.model_dump() for message in conversation]
        prompts = build_prompts(tokenizers, messages, body.apply_chat_template)
        check_room(started.ensemble, prompts, body.max_length)
        requests.append(
            GenerateRequest(
                request_id=f"{batch_id}-{place}",
                prompts=prompts,
                max_new_tokens=body.max_new_tokens,
                max_length=body.max_length,
                min_new_tokens=body.min_new_tokens,
                ignore_eos=body.ignore_eos,
                stop=tuple(body.until or ()),
                sampling=body.sampling(),
                strategy=choice.strategy,
                weights=choice.weights,
                trace=body.trace,
            )
        )
    return requests


def _check_limits(service: Service, body: GenerateBody) -> None:
    limit = service.config.engine.max_new_tokens_limit
    if body.max_new_tokens > limit:
        raise RequestError(
            f"max_new_tokens {body.max_new_tokens} exceeds this server's limit of {limit}",
            param="max_new_tokens",
        )
    limit = service.config.server.max_conversations
    if len(body.messages_list) > limit:
        raise RequestError(
            f"messages_list holds {len(body.messages_list)} conversations, "
            f"this server's limit is {limit}",
            param="messages_list",
        )
    _check_candidates(service, body)
    service.engine.check_open(len(body.messages_list))


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
