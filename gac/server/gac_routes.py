"""The original's way to ask: POST /api/generate."""

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from gac.server.answers import GenerateShape
from gac.server.exchange import note_model
from gac.server.intake import Intake
from gac.server.models import ENSEMBLE
from gac.server.schemas import GenerateAnswer, GenerateBody


def gac_router(intake: Intake) -> APIRouter:
    """Routes over a service that may still be loading."""
    router = APIRouter()

    options: dict[str, Any] = {"response_model": GenerateAnswer}  # documents it; see `answers`

    @router.post("/api/generate/", **options)
    @router.post("/api/generate", **options, include_in_schema=False)
    async def generate(body: GenerateBody) -> Response:
        """Write a text for each conversation; with `stream`, as server-sent events."""
        note_model(ENSEMBLE)
        job = await intake.take(body.request())
        return intake.answer(job, GenerateShape(job, body), body.stream)

    return router
