"""The interface of a connection between the engine and a member, Unix socket or TCP.

A message is a header and a body, both bytes.  The engine's ends (near) belong to the thread
that waits at the inbox and never block; the members' ends (far) block.
"""

from typing import Any, Protocol

Message = tuple[bytes, Any]
"""A header, and a body that is bytes or a buffer."""


class NearWire(Protocol):
    """The engine's end."""

    @property
    def pollable(self) -> Any:
        """What a `zmq.Poller` can wait on: a ZeroMQ socket, or a file descriptor."""

    @property
    def has_backlog(self) -> bool:
        """Whether something is still to be sent, by `flush`, when there is room."""

    def send(self, header: bytes, body: bytes) -> None:
        """Send a message, at once or by a later `flush`; ignored if the connection is broken."""

    def flush(self) -> None:
        """Send what could not be sent before."""

    def read(self) -> list[Message]:
        """All that has arrived.  Raises: EOFError if the other end has gone."""

    def close(self) -> None:
        """Close the connection."""


class FarWire(Protocol):
    """The member's end; one thread receives while others send, one at a time."""

    def receive(self) -> Message:
        """The next message; waits for it.  Raises: EOFError at the end, or when closed."""

    def send(self, header: bytes, body: bytes) -> None:
        """Send a message; waits for room.  Raises: EOFError if the other end has gone."""

    def beat(self, header: bytes) -> None:
        """Send a message without a body, unless nobody listens yet.  Raises: as `send`."""

    def end(self) -> None:
        """Close the connection; called by the thread that receives."""

    def close(self) -> None:
        """Make `receive` end, and wait until it has; called by any other thread."""
