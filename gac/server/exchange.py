"""The HTTP request that is being answered, known to all code that works on it.

Pure ASGI, and around everything else, so that it sees the answers of error handlers, too.
"""

import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gac.engine.names import batch_named_by, new_name
from gac.errors import GacError

CLIENT_LEFT = 499
"""The status, for logs and counts, of a request whose client did not wait for any."""
ID_HEADER = b"x-request-id"
LONGEST_ID = 128


@dataclass(slots=True)
class Exchange:
    """One HTTP request and how it was answered; times are by `time.monotonic`.

    `client_id` is what the client calls it, if it does.  `status` is None as long as nothing was
    sent; `failure` is an error's code; `model` is the
    one that a request to write asks for, once its body has been read.
    """

    client_id: str | None = None
    name: str = field(default_factory=new_name)
    arrived_at: float = field(default_factory=time.monotonic)
    status: int | None = None
    failure: str | None = None
    has_client_left: bool = False
    model: str | None = None

    @property
    def request_id(self) -> str:
        """What responses and log lines call it."""
        return self.client_id or self.name

    def batch_name(self) -> str:
        """What the engine is to call it."""
        return self.name if self.client_id is None else batch_named_by(self.client_id)

    @property
    def final_status(self) -> int:
        """The status that logs and counts name, once it has ended."""
        return self.status or (CLIENT_LEFT if self.has_client_left else 500)


NoteEnd = Callable[[Scope, Exchange], None]

_CURRENT: ContextVar[Exchange | None] = ContextVar("exchange", default=None)


def current_exchange() -> Exchange | None:
    """That of the task or thread that asks, if it works on a request."""
    return _CURRENT.get()


def note_failure(error: GacError) -> None:
    """Remember what the request at hand failed with."""
    if (exchange := _CURRENT.get()) is not None:
        exchange.failure = error.code or error.error_type


def note_client_left() -> None:
    """Remember that the client did not wait for the end of its answer."""
    if (exchange := _CURRENT.get()) is not None:
        exchange.has_client_left = True


def note_model(model: str) -> None:
    """Remember which model the request at hand asks for."""
    if (exchange := _CURRENT.get()) is not None:
        exchange.model = model


class Exchanges:
    """Middleware that gives each request its exchange, and reports it when it has ended."""

    def __init__(self, app: ASGIApp, note_end: NoteEnd) -> None:
        self._app = app
        self._note_end = note_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and its id back with the response."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = Exchange(_client_id(scope))
        _CURRENT.set(exchange)  # for this task, which serves one request
        header = (ID_HEADER, exchange.request_id.encode())

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                message["headers"] = [*message.get("headers", ()), header]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Exception:
            exchange.failure = exchange.failure or GacError.error_type
            raise
        finally:
            self._note_end(scope, exchange)


def _client_id(scope: Scope) -> str | None:
    """The header X-Request-Id, if it is something that can stand in a log line: visible ASCII."""
    sent: bytes = dict(scope["headers"]).get(ID_HEADER, b"")
    is_fit = 0 < len(sent) <= LONGEST_ID and all(0x21 <= byte <= 0x7E for byte in sent)
    return sent.decode("ascii") if is_fit else None
