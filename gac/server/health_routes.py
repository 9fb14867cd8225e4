"""How the server is: GET /status, as in the original, its version, and health probes."""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from gac import __version__
from gac.engine.engine import Engine
from gac.engine.service import Service, State
from gac.errors import EngineUnavailable
from gac.members.member import Member
from gac.server.errors import error_response


def health_router(service: Service) -> APIRouter:
    """Routes that answer from the start, however the service is."""
    router = APIRouter()

    @router.get("/status")
    async def status() -> JSONResponse:
        return _status(service)

    @router.get("/health/live")
    async def live() -> dict[str, str]:
        return {"status": "live"}

    @router.get("/health/ready")
    @router.get("/health")
    @router.get("/ping")
    async def ready() -> dict[str, str]:
        """Whether requests are answered without delay; /ping and /health are other spellings."""
        if service.is_progressing:
            return {"status": "ready"}
        stalled = service.state is State.READY
        message = "a member has stopped answering" if stalled else service.explanation
        raise EngineUnavailable(message, code="engine_unavailable")

    @router.get("/version")
    async def version() -> dict[str, str]:
        """The server's version, whether it is ready or not."""
        return {"version": __version__}

    return router


def _status(service: Service) -> JSONResponse:
    """200 only when every member is loaded; how far each is before that."""
    members: dict[str, dict[str, Any]] = {
        name: {"stage": load.stage, "fraction": round(load.fraction, 3)}
        for name, load in service.loading.items()
    }
    state = service.state
    if state is not State.READY:
        error = EngineUnavailable(service.explanation, code="engine_unavailable")
        if state is State.RESTARTING:
            return error_response(
                error, status=state.value, members=members, **_counts(service.engine)
            )
        return error_response(error, status=state.value, members=members)
    engine = service.engine
    for member in engine.members:
        members[member.name] |= _facts(engine, member)
    return JSONResponse({"status": state.value, "members": members, **_counts(engine)})


def _facts(engine: Engine, member: Member) -> dict[str, Any]:
    facts = member.facts
    return {
        "device": facts.device,
        "dtype": facts.dtype,
        "max_context": facts.max_context,
        "max_kv_tokens": facts.max_kv_tokens,
        "load_s": round(facts.load_s, 2),
        "num_batches": engine.metrics.members[member.name].batches,
    }


def _counts(engine: Engine) -> dict[str, Any]:
    return {
        "union_size": len(engine.ensemble.union),
        "union_fingerprint": engine.ensemble.union.fingerprint,
        "num_running": engine.num_running,
        "num_waiting": engine.num_waiting,
        "num_finished": engine.metrics.finished,
        "num_failed": engine.metrics.failed,
        "num_aborted": engine.metrics.aborted,
        "num_evictions": engine.metrics.evictions,
        "num_tokens": engine.metrics.tokens,
    }
