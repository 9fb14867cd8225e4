"""How every route that writes takes a request in: checked, prepared, and within the memory left."""

import time
from collections.abc import Sequence

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from gac.core import GenerateRequest
from gac.engine.client_request import ClientRequest
from gac.engine.requests import check_limits, prepare
from gac.engine.service import Service
from gac.server.exchange import current_exchange
from gac.server.job import Job
from gac.server.responses import EventStream, WholeAnswer
from gac.server.shape import Shape
from gac.server.streaming import Bridge
from gac.server.trace_budget import TraceBudget, check_trace, field_of, traced_bytes


class Intake:
    """The way in and out of a service that may still be loading; one for all its routes."""

    def __init__(self, service: Service, bridge: Bridge) -> None:
        self.service = service
        self._bridge = bridge
        self._budget = TraceBudget()

    async def take(self, asked: ClientRequest) -> Job:
        """Check and prepare a request.  Raises: RequestError naming the field that is wrong."""
        started_at = time.monotonic()
        check_now(self.service, asked, self._budget)  # before a worker is waited for
        requests = await run_in_threadpool(prepared, self.service, asked, self._budget)
        num_members, num_scored = len(requests[0].prompts), _num_scored(requests)
        check_trace(asked, num_members, num_scored)
        size = traced_bytes(asked, num_members, num_scored)
        return Job(self.service, asked, requests, started_at, size)

    def answer(self, job: Job, shape: Shape, stream: bool) -> Response:
        """The response that has the job written, and sends it in this shape."""
        return (EventStream if stream else WholeAnswer)(job, shape, self._bridge, self._budget)


def check_now(service: Service, asked: ClientRequest, budget: TraceBudget) -> None:
    """Check what costs nothing to check."""
    engine = service.engine
    check_limits(service.config, asked)
    num_members = len(asked.members or service.config.members)
    check_trace(asked, num_members)
    engine.check_open(asked.num_texts)
    budget.check(traced_bytes(asked, num_members), field_of(asked))


def prepared(service: Service, asked: ClientRequest, budget: TraceBudget) -> list[GenerateRequest]:
    """The engine's requests; runs on a worker thread."""
    check_now(service, asked, budget)  # again: the server may have filled before a worker was free
    exchange = current_exchange()
    batch = None if exchange is None else exchange.batch_name()
    return prepare(service.config, service.started, asked, batch)


def _num_scored(requests: Sequence[GenerateRequest]) -> int:
    """How many tokens of prompts have likelihoods."""
    return sum(len(request.forced.tokens) for request in requests)
