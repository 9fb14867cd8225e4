"""Refuses bodies that are too large without ever holding them.  Pure ASGI: hides no disconnect."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gac.errors import RequestError
from gac.server.errors import error_response
from gac.server.request_log import log_refusal

DRAIN_BYTES = 256 * 2**20
DRAIN_S = 10.0
"""How much of a refused body is read and thrown away: most clients send all of it before they look
for an answer, and would see a broken connection in its place."""


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
            await self._refuse(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            return message if seen <= self._max_bytes else {"type": "http.disconnect"}

        async def unless_refused(message: Message) -> None:
            # FastAPI answers 400 to whatever goes wrong while it reads a body.
            if seen <= self._max_bytes:
                await send(message)

        await self._app(scope, counted, unless_refused)
        if seen > self._max_bytes:
            await self._refuse(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        if dict(scope["headers"]).get(b"expect", b"").lower() != b"100-continue":
            await _drain(receive)
        error = BodyTooLarge(
            f"the body is larger than {self._max_bytes} bytes", code="body_too_large"
        )
        log_refusal(error, error.http_status)
        response = error_response(error)
        response.headers["Connection"] = "close"
        await response(scope, receive, send)


async def _drain(receive: Receive) -> None:
    """Read the rest of a body, holding none of it, up to a size and for a time."""
    seen = 0
    try:
        async with asyncio.timeout(DRAIN_S):
            while seen < DRAIN_BYTES and (message := await receive()).get("more_body"):
                seen += len(message["body"])
    except TimeoutError:
        pass
