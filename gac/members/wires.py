"""What a member's two ends need of the connection between them; how it is made is its own affair.

A message is a header and a body, both bytes.  Near ends belong to the thread that waits at an inbox
and never block; far ends wait.
"""

from typing import Any, Protocol

Message = tuple[bytes, Any]
"""A header, and a body that is bytes or may be read like them."""


class NearWire(Protocol):
    """The engine's end."""

    @property
    def pollable(self) -> Any:
        """What a `zmq.Poller` can wait on: a ZeroMQ socket, or a file descriptor."""

    @property
    def has_backlog(self) -> bool:
        """Whether something could not be sent yet: to be flushed as soon as there is room."""

    def send(self, header: bytes, body: bytes) -> None:
        """Send a message, sooner or later; a broken connection takes it in silence."""

    def flush(self) -> None:
        """Send what could not be sent before."""

    def read(self) -> list[Message]:
        """All that has arrived.  Raises: EOFError if the other end has gone."""

    def close(self) -> None:
        """Let go of the connection."""


class FarWire(Protocol):
    """The member's end; one thread receives while others send, one at a time."""

    def receive(self) -> Message:
        """The next message; waits for it.  Raises: EOFError at the end, or when closed."""

    def send(self, header: bytes, body: bytes) -> None:
        """Send a message; waits for room.  Raises: EOFError if the other end has gone."""

    def beat(self, header: bytes) -> None:
        """Send a message without a body, unless nobody listens yet.  Raises: as `send`."""

    def end(self) -> None:
        """Let go of the connection; for the thread that receives."""

    def close(self) -> None:
        """Have `receive` end, and wait until it has; any other thread may."""
