"""The connection between machines: TCP by ZeroMQ, encrypted, each end authenticated by its key.

Two sockets an end, as one of ZeroMQ's must not be used by two threads.
"""

from dataclasses import replace
from typing import Any

import zmq

from gac.members.curve import Keys, guard_server, prove_client
from gac.members.ends import Ends
from gac.members.wires import Message


class NearTcpWire:
    """The engine's end: connects to where the member has bound."""

    has_backlog = False  # ZeroMQ keeps its own

    def __init__(self, context: Any, ends: Ends, keys: Keys) -> None:
        self._outgoing = context.socket(zmq.PUSH)
        # A socket that connects has a queue at once (one that binds has not): sending never blocks
        # the engine's thread, not even when the member has died.
        self._outgoing.setsockopt(zmq.SNDHWM, 0)
        self.pollable = self._incoming = context.socket(zmq.PULL)
        prove_client([self._outgoing, self._incoming], keys, ends.member_key)
        for opened, endpoint in ((self._outgoing, ends.down), (self._incoming, ends.up)):
            # What is under way when a connection breaks is lost, so a broken one stays broken: the
            # silence that follows ends this life, and the next one is told everything anew.
            opened.setsockopt(zmq.RECONNECT_IVL, -1)
            opened.setsockopt(zmq.IPV6, int("[" in endpoint))
            opened.connect(endpoint)

    def send(self, header: bytes, body: bytes) -> None:
        """Queue a message."""
        self._outgoing.send_multipart([header, body])

    def flush(self) -> None:
        """Does nothing: ZeroMQ sends by itself."""

    def read(self) -> list[Message]:
        """All messages that have arrived; malformed ones are dropped."""
        messages: list[Message] = []
        try:
            while True:
                frames = self._incoming.recv_multipart(zmq.NOBLOCK, copy=False)
                if len(frames) == 2:
                    messages.append((frames[0].bytes, frames[1].buffer))
        except zmq.Again:
            return messages

    def close(self) -> None:
        """Close both sockets."""
        self._incoming.close(linger=0)
        self._outgoing.close(linger=0)


class FarTcpWire:
    """The member's end: binds, and accepts only the engine."""

    def __init__(self, ends: Ends) -> None:
        """Raises: zmq.ZMQError if the sockets cannot be opened."""
        self._context = zmq.Context()
        self._incoming = self._context.socket(zmq.PULL)
        self._outgoing = self._context.socket(zmq.PUSH)
        sockets = [self._incoming, self._outgoing]
        keys = Keys.make()
        guard_server(self._context, sockets, keys, ends.engine_key)
        for opened, endpoint in zip(sockets, (ends.down, ends.up), strict=True):
            opened.setsockopt(zmq.IPV6, int("[" in endpoint))
            opened.bind(endpoint)
        down, up = (opened.getsockopt_string(zmq.LAST_ENDPOINT) for opened in sockets)
        self.ends = replace(ends, down=down, up=up, member_key=keys.public)

    def receive(self) -> Message:
        """The next message; malformed ones are dropped."""
        try:
            while True:
                frames = self._incoming.recv_multipart()
                if len(frames) == 2:
                    return frames[0], frames[1]
        except zmq.ContextTerminated as error:
            raise EOFError("closed") from error

    def send(self, header: bytes, body: bytes) -> None:
        """Send a message."""
        try:
            self._outgoing.send_multipart([header, body], copy=False)
        except zmq.ZMQError as error:
            raise EOFError(str(error)) from error

    def beat(self, header: bytes) -> None:
        """Send a message without a body, unless nobody is connected or the queue is full."""
        try:
            self._outgoing.send_multipart([header, b""], zmq.NOBLOCK)
        except zmq.Again:
            pass
        except zmq.ZMQError as error:
            raise EOFError(str(error)) from error

    def end(self) -> None:
        """Close both sockets."""
        self._incoming.close(linger=0)
        self._outgoing.close(linger=0)

    def close(self) -> None:
        """Make `receive` end, and wait until its thread has left it."""
        self._context.term()
