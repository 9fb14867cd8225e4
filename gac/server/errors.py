"""One error body everywhere: {"error": {"message", "type", "param", "code"}}."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from gac.errors import GacError, RequestError
from gac.server.request_log import log_refusal


def error_body(error: GacError) -> dict[str, Any]:
    """The body of an error's response."""
    return {
        "error": {
            "message": _encodable(error.message),
            "type": error.error_type,
            "param": _encodable(error.param) if error.param else None,
            "code": error.code or error.error_type,
        }
    }


def _encodable(text: str) -> str:
    """Lone surrogates, which a client's JSON may hold, written as what they are."""
    return text.encode("utf-8", "backslashreplace").decode()


def error_response(error: GacError, **beside: Any) -> JSONResponse:
    """An error as its response; the only place where an error becomes a status."""
    headers = {"Retry-After": "1"} if error.retryable else None
    body = {**beside, **error_body(error)}
    return JSONResponse(body, status_code=error.http_status, headers=headers)


def refusal(request: Request, error: GacError) -> JSONResponse:
    """An error as its response, and in the log, unless it answers a probe."""
    if not request.url.path.startswith(("/health", "/ping")):
        log_refusal(error, error.http_status)
    return error_response(error)


def install_error_handlers(app: FastAPI) -> None:
    """Turn every exception that leaves a route into the one error body."""

    @app.exception_handler(GacError)
    async def ours(request: Request, error: GacError) -> JSONResponse:
        return refusal(request, error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return refusal(request, validation_error(error.errors()))

    @app.exception_handler(HTTPException)
    async def routing(request: Request, error: HTTPException) -> JSONResponse:
        if isinstance(error.__cause__, RecursionError | ValueError):  # while it parsed the body
            return refusal(request, _invalid_json(error.__cause__))
        message = f"{error.detail}: {request.method} {request.url.path}"
        wrong = RequestError(message, code=f"http_{error.status_code}")
        log_refusal(wrong, error.status_code)
        body = error_body(wrong)
        return JSONResponse(body, status_code=error.status_code, headers=error.headers)

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        return error_response(GacError("internal error; the server's log has the details"))


def validation_error(problems: Sequence[Mapping[str, Any]]) -> RequestError:
    """What is wrong with a body, naming the first field that is."""
    problem = problems[0]
    context = problem.get("ctx", {})
    if problem["type"] == "json_invalid":
        at = f"{context.get('error', '')} at character {problem['loc'][-1]}"
        return RequestError(f"the body is not valid JSON: {at}", code="invalid_json")
    location, message = problem["loc"][1:], str(problem["msg"]).removeprefix("Value error, ")
    if "field" in context:
        location = (*location, context["field"])
    elif not location and problem["type"] in ("missing", "model_attributes_type", "model_type"):
        message = "must be a JSON object, sent as Content-Type: application/json"
    path = _path(location)
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    code = problem["type"] if problem["type"] == "unsupported_parameter" else None
    text = f"{path or 'the body'}: {message}{more}"
    return RequestError(text, param=path or None, code=code)


def _invalid_json(cause: Exception) -> RequestError:
    if isinstance(cause, RecursionError):
        reason = "it is nested too deeply"
    elif isinstance(cause, UnicodeDecodeError):
        reason = f"it is not UTF-8 text (at byte {cause.start})"
    else:
        reason = str(cause).partition(";")[0]
    return RequestError(f"the body is not valid JSON: {reason}", code="invalid_json")


def _path(location: Sequence[str | int]) -> str:
    """("messages_list", 0, "role") -> messages_list[0].role"""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path
