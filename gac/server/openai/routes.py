"""OpenAI's way to ask: models, chats and completions."""

import time
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from gac.errors import GacError
from gac.server.exchange import note_model
from gac.server.intake import Intake
from gac.server.job import Job
from gac.server.models import members_of, model_ids
from gac.server.openai.chat import ChatBody, ChatShape
from gac.server.openai.completion import CompletionBody, CompletionShape
from gac.server.openai.tolerance import IgnoredLog
from gac.server.openai.words import Words, chat_words, completion_words


def openai_router(intake: Intake) -> APIRouter:
    """Routes over a service that may still be loading."""
    router = APIRouter(prefix="/v1")
    ignored = IgnoredLog()

    async def taken(body: ChatBody | CompletionBody, words: Words, route: str) -> Job:
        note_model(body.model)
        ignored.note(route, body.ignored)
        try:
            return await intake.take(body.asked(intake.service))
        except GacError as error:
            raise words.in_client_words(error) from error

    @router.post("/chat/completions")
    @router.post("/chat/completions/", include_in_schema=False)
    async def chat(body: ChatBody) -> Response:
        """Answer a chat; with `stream`, as server-sent events."""
        words = chat_words(body.limit_name)
        job = await taken(body, words, "chat/completions")
        return intake.answer(job, ChatShape(job, body, words), body.stream)

    @router.post("/completions")
    @router.post("/completions/", include_in_schema=False)
    async def complete(body: CompletionBody) -> Response:
        """Continue texts; with `stream`, as server-sent events."""
        words = completion_words(body.has_several)
        job = await taken(body, words, "completions")
        return intake.answer(job, CompletionShape(job, body, words), body.stream)

    _add_models(router, intake)
    return router


def _add_models(router: APIRouter, intake: Intake) -> None:
    service, created = intake.service, int(time.time())

    def described(model: str) -> dict[str, Any]:
        """A model as OpenAI describes one; `max_model_len` is the tokens of prompt and answer."""
        ensemble = service.started.ensemble
        names = members_of(service.config, model) or list(ensemble.members)
        room = min(ensemble.context_limit(name) for name in names)
        return {
            "id": model,
            "object": "model",
            "created": created,
            "owned_by": "gac",
            "max_model_len": room,
        }

    @router.get("/models")
    @router.get("/models/", include_in_schema=False)
    async def models() -> dict[str, Any]:
        """The ensemble, and each member alone."""
        return {"object": "list", "data": [described(one) for one in model_ids(service.config)]}

    @router.get("/models/{model:path}")
    async def model(model: str) -> dict[str, Any]:
        """One of them; its id may hold a slash."""
        return described(model.rstrip("/"))
