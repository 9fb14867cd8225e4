"""The FastAPI application over a service."""

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


def _note_end(
    requests: RequestMetrics, with_access_log: bool, scope: Scope, exchange: Exchange
) -> None:
    requests.note_end(scope, exchange)
    if with_access_log:
        log_access(scope, exchange)


def make_app(service: Service) -> FastAPI:
    """The application; starting and stopping the service is the caller's business."""
    registry = registry_for(service)
    requests = RequestMetrics(registry)
    app = _Application(
        partial(_note_end, requests, service.config.server.access_log),
        title="GaC server",
        version=gac.__version__,
        strict_content_type=False,
        lifespan=lambda _: activity_logged(service),
    )
    app.add_middleware(BodyLimit, max_bytes=service.config.server.max_body_bytes)
    install_error_handlers(app)
    intake = Intake(service, Bridge(requests))
    app.include_router(gac_router(intake))
    app.include_router(openai_router(intake))
    app.include_router(health_router(service))
    app.include_router(metrics_router(registry))
    app.include_router(tokenizer_router(service))
    return app
