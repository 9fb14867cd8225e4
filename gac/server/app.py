"""The FastAPI application over a service."""

from fastapi import FastAPI

import gac
from gac.engine.service import Service
from gac.server.body_limit import BodyLimit
from gac.server.errors import install_error_handlers
from gac.server.gac_routes import gac_router
from gac.server.health_routes import health_router
from gac.server.intake import Intake
from gac.server.request_log import activity_logged


def make_app(service: Service) -> FastAPI:
    """The application; starting and stopping the service is the caller's business."""
    app = FastAPI(
        title="GaC server",
        version=gac.__version__,
        strict_content_type=False,
        lifespan=lambda _: activity_logged(service),
    )
    app.add_middleware(BodyLimit, max_bytes=service.config.server.max_body_bytes)
    install_error_handlers(app)
    app.include_router(gac_router(Intake(service)))
    app.include_router(health_router(service))
    return app
