"""The original's way to ask: POST /api/generate."""

import time
from typing import Any

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from gac.core import GenerateRequest
from gac.engine.client_request import ClientRequest
from gac.engine.requests import check_limits, prepare
from gac.engine.service import Service
from gac.server.answers import Job
from gac.server.responses import EventStream, WholeAnswer
from gac.server.schemas import GenerateAnswer, GenerateBody
from gac.server.streaming import Bridge
from gac.server.trace_budget import TraceBudget, check_trace, traced_bytes


def gac_router(service: Service) -> APIRouter:
    """Routes over a service that may still be loading."""
    router = APIRouter()
    bridge, budget = Bridge(), TraceBudget()

    options: dict[str, Any] = {"response_model": GenerateAnswer}  # documents it; see `answers`

    @router.post("/api/generate/", **options)
    @router.post("/api/generate", **options, include_in_schema=False)
    async def generate(body: GenerateBody) -> Response:
        """Write a text for each conversation; with `stream`, as server-sent events."""
        started_at = time.monotonic()
        asked = body.request()
        _check(service, asked, budget)  # before a worker is waited for
        requests = await run_in_threadpool(_prepared, service, asked, budget)
        size = traced_bytes(asked, len(requests[0].prompts))
        job = Job(service, body, asked, requests, started_at, size)
        return (EventStream if body.stream else WholeAnswer)(job, bridge, budget)

    return router


def _check(service: Service, asked: ClientRequest, budget: TraceBudget) -> None:
    """Check what costs nothing to check."""
    engine = service.engine
    check_limits(service.config, asked)
    num_members = len(asked.members or service.config.members)
    check_trace(asked, num_members)
    engine.check_open(asked.num_texts)
    budget.check(traced_bytes(asked, num_members))


def _prepared(service: Service, asked: ClientRequest, budget: TraceBudget) -> list[GenerateRequest]:
    """The engine's requests; runs on a worker thread."""
    _check(service, asked, budget)  # again: the server may have filled before a worker was free
    return prepare(service.config, service.started, asked)
