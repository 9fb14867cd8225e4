"""The FastAPI application over a service."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp, Scope

import gac
from gac.engine.service import Service
from gac.server.access_log import log_access
from gac.server.body_limit import BodyLimit
from gac.server.documented import documented
from gac.server.errors import install_error_handlers
from gac.server.exchange import Exchange, Exchanges, NoteEnd
from gac.server.gac_routes import gac_router
from gac.server.health_routes import health_router
from gac.server.intake import Intake
from gac.server.metrics_routes import metrics_router, registry_for
from gac.server.openai.routes import openai_router
from gac.server.request_log import activity_logged
from gac.server.request_metrics import RequestMetrics
from gac.server.spans import Spans
from gac.server.streaming import Bridge
from gac.server.tokenizer_routes import tokenizer_router


class _Application(FastAPI):
    """One that notes every exchange, around all other middleware."""

    def __init__(self, note_end: NoteEnd, **options: Any) -> None:
        super().__init__(**options)
        self._note_end = note_end

    def build_middleware_stack(self) -> ASGIApp:
        """Called once, at the first request."""
        return Exchanges(super().build_middleware_stack(), self._note_end)

    def openapi(self) -> dict[str, Any]:
        """The document, made once."""
        if self.openapi_schema is None:
            self.openapi_schema = documented(super().openapi())
        return self.openapi_schema


def _note_end(noting: Sequence[NoteEnd], scope: Scope, exchange: Exchange) -> None:
    for note in noting:
        note(scope, exchange)


@asynccontextmanager
async def _lifespan(service: Service, spans: Spans | None, app: FastAPI) -> AsyncIterator[None]:
    async with activity_logged(service), nullcontext() if spans is None else spans.sent():
        yield


def make_app(service: Service) -> FastAPI:
    """The application; starting and stopping the service is the caller's business.

    Raises: ConfigError if the configuration asks for spans, and their packages are not installed.
    """
    registry = registry_for(service)
    requests, server = RequestMetrics(registry), service.config.server
    spans = Spans(service.config) if server.tracing else None
    observers: list[RequestMetrics | Spans] = [requests] if spans is None else [requests, spans]
    noting: list[NoteEnd] = [one.note_end for one in observers]
    if server.access_log:
        noting.append(log_access)
    app = _Application(
        partial(_note_end, noting),
        title="GaC server",
        version=gac.__version__,
        strict_content_type=False,
        lifespan=partial(_lifespan, service, spans),
    )
    app.add_middleware(BodyLimit, max_bytes=server.max_body_bytes)
    install_error_handlers(app)
    intake = Intake(service, Bridge(observers))
    app.include_router(gac_router(intake))
    app.include_router(openai_router(intake))
    app.include_router(health_router(service))
    app.include_router(metrics_router(registry))
    app.include_router(tokenizer_router(service))
    return app
