"""The OpenAPI document: what FastAPI makes of the routes, with the errors that are really sent.

FastAPI documents status 422 for wrong requests; here they are 400, as OpenAI's are.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from gac.server.schemas import Schema

_ASKED = (400, 413, 429, 500, 503)
_SPELLED = (400, 404, 413, 500, 503)
ERRORS: Mapping[str, tuple[int, ...]] = {
    "/api/generate/": _ASKED,
    "/v1/chat/completions": (*_ASKED, 404),
    "/v1/completions": (*_ASKED, 404),
    "/v1/models": (503,),
    "/v1/models/{model}": (404, 503),
    "/tokenize": _SPELLED,
    "/detokenize": _SPELLED,
    "/tokenizer_info": (400, 404, 503),
    "/status": (503,),
    "/health": (503,),
    "/health/ready": (503,),
    "/ping": (503,),
}
"""By path: the statuses of errors."""
STREAMED = ("/api/generate/", "/v1/chat/completions", "/v1/completions")
"""The paths whose answers may be server-sent events."""


class ErrorFields(Schema):
    """What was wrong: in words, of which kind, and in which field."""

    message: str
    type: str
    param: str | None
    code: str


class ErrorBody(Schema):
    """The body of every error."""

    error: ErrorFields


def documented(document: dict[str, Any]) -> dict[str, Any]:
    """The document with the errors of every operation, and with streams; changes and gives it."""
    for path, operations in document["paths"].items():
        for operation in operations.values():
            responses = operation["responses"]
            responses.pop("422", None)
            for status in ERRORS.get(path, ()):
                responses[str(status)] = _error(status)
            if path in STREAMED:
                responses["200"]["content"]["text/event-stream"] = {}
    schemas = document["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for model in (ErrorBody, ErrorFields):
        schemas[model.__name__] = model.model_json_schema(
            ref_template="#/components/schemas/{model}"
        )
        schemas[model.__name__].pop("$defs", None)
    return document


def _error(status: int) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{ErrorBody.__name__}"}
    return {
        "description": HTTPStatus(status).phrase,
        "content": {"application/json": {"schema": schema}},
    }
