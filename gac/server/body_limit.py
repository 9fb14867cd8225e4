"""Refuses bodies that are too large before reading them whole.  Pure ASGI: hides no disconnect."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gac.errors import RequestError
from gac.server.errors import error_response


class BodyTooLarge(RequestError):
    """The request's body exceeds the server's limit."""

    http_status = 413


class BodyLimit:
    """Middleware that answers 413 once more than `max_bytes` are announced or have come."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on unless its body is too large."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > self._max_bytes:
            await error_response(self._error())(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._max_bytes:
                raise self._error()
            return message

        await self._app(scope, counted, send)

    def _error(self) -> BodyTooLarge:
        return BodyTooLarge(
            f"the body is larger than {self._max_bytes} bytes", code="body_too_large"
        )
