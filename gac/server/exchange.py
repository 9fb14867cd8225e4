"""The HTTP request that is being answered, known to all code that works on it.

Pure ASGI, and around everything else, so that it sees the answers of error handlers, too.
"""

import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gac.errors import GacError

CLIENT_LEFT = 499
"""The status, for logs and counts, of a request whose client did not wait for any."""


@dataclass(slots=True)
class Exchange:
    """One HTTP request and how it was answered; times are by `time.monotonic`.

    `status` is None as long as nothing was sent; `failure` is an error's code.
    """

    arrived_at: float = field(default_factory=time.monotonic)
    status: int | None = None
    failure: str | None = None
    has_client_left: bool = False

    @property
    def final_status(self) -> int:
        """The status that logs and counts name, once it has ended."""
        return self.status or (CLIENT_LEFT if self.has_client_left else 500)


_CURRENT: ContextVar[Exchange] = ContextVar("exchange")


def current_exchange() -> Exchange:
    """That of the task or thread that asks; outside of any, a new one that nobody sees."""
    return _CURRENT.get(None) or Exchange()


def note_failure(error: GacError) -> None:
    """Remember what the request at hand failed with."""
    current_exchange().failure = error.code or error.error_type


class Exchanges:
    """Middleware that gives each request its exchange, and reports it when it has ended."""

    def __init__(self, app: ASGIApp, note_end: Callable[[Scope, Exchange], None]) -> None:
        self._app = app
        self._note_end = note_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = Exchange()
        _CURRENT.set(exchange)  # for this task, which serves one request

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Exception:
            exchange.failure = exchange.failure or GacError.error_type
            raise
        finally:
            self._note_end(scope, exchange)
