"""One error body everywhere: {"error": {"message", "type", "param", "code"}}."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from gac.errors import GacError, RequestError

logger = logging.getLogger(__name__)


def error_body(error: GacError) -> dict[str, Any]:
    """The body of an error's response."""
    return {
        "error": {
            "message": error.message,
            "type": error.error_type,
            "param": error.param,
            "code": error.code or error.error_type,
        }
    }


def error_response(error: GacError) -> JSONResponse:
    """An error as its response; the only place where an error becomes a status."""
    headers = {"Retry-After": "1"} if error.retryable else None
    return JSONResponse(error_body(error), status_code=error.http_status, headers=headers)


def install_error_handlers(app: FastAPI) -> None:
    """Turn every exception that leaves a route into the one error body."""

    @app.exception_handler(GacError)
    async def ours(request: Request, error: GacError) -> JSONResponse:
        return error_response(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return error_response(validation_error(error.errors()))

    @app.exception_handler(HTTPException)
    async def routing(request: Request, error: HTTPException) -> JSONResponse:
        body = error_body(RequestError(str(error.detail), code=f"http_{error.status_code}"))
        return JSONResponse(body, status_code=error.status_code, headers=error.headers)

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        return error_response(GacError("internal error; the server's log has the details"))


def validation_error(problems: Sequence[Mapping[str, Any]]) -> RequestError:
    """What is wrong with a body, naming the first field that is."""
    problem = problems[0]
    if problem["type"] == "json_invalid":
        reason = problem.get("ctx", {}).get("error", "")
        return RequestError(f"the body is not valid JSON: {reason}", code="invalid_json")
    path = _path(problem["loc"])
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        message = "there is no such field"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return RequestError(f"{path or 'body'}: {message}{more}", param=path or None)


def _path(location: Sequence[str | int]) -> str:
    """("body", "messages_list", 0, "role") -> messages_list[0].role"""
    path = ""
    for part in location[1:]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path
