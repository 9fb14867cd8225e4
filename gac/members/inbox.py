"""What the engine's thread waits on: callables put by any thread, and the members' sockets.

One thread waits, and is the only one to touch the wires; every other may put.  Without wires a
`queue.SimpleQueue` is an inbox.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Protocol

import zmq

from gac.members.loss import GAP_S
from gac.members.wires import Message, NearWire

Act = Callable[[], None]
Take = Callable[[Message], None]
Look = Callable[[float, bool], None]
"""Gets the time, and whether the last check is so long ago that silence proves nothing."""

LOOK_S = 0.5
"""Interval of the checks for members that have fallen silent."""


class Inbox(Protocol):
    """A queue of callables for the engine's thread, first in, first out."""

    def put(self, act: Act, /) -> None:
        """Add a callable; from any thread."""

    def get(self) -> Act:
        """The next callable; waits for it."""

    def get_nowait(self) -> Act:
        """The next callable.  Raises: queue.Empty if there is none."""


@dataclass(frozen=True, slots=True)
class _Listener:
    """A connection and its callbacks: for messages, for its end, and for the regular check."""

    wire: NearWire
    take: Take
    broken: Act
    look: Look


class SocketInbox:
    """An inbox that receives on the thread that waits, so that an answer wakes one thread only.

    Messages of a connection go to its callback, which may put callables in turn.
    """

    def __init__(self) -> None:
        self._acts: SimpleQueue[Act] = SimpleQueue()
        self._tasks: SimpleQueue[Act] = SimpleQueue()
        self._listeners: dict[Any, _Listener] = {}  # by pollable
        self._looked_at = 0.0
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._poller = zmq.Poller()
        self._poller.register(self._wake_reader.fileno(), zmq.POLLIN)
        self._waiter = 0

    def put(self, act: Act, /) -> None:
        """Add a callable; wakes the waiting thread, unless that is the caller."""
        self._acts.put(act)
        self._wake()

    def get(self) -> Act:
        """The next callable; waits for it, and receives messages meanwhile."""
        self._waiter = threading.get_ident()
        while True:
            with contextlib.suppress(Empty):
                return self._acts.get_nowait()
            self.receive()

    def get_nowait(self) -> Act:
        """The next callable; receives what has arrived.  Raises: queue.Empty if there is none."""
        with contextlib.suppress(Empty):
            return self._acts.get_nowait()
        self.receive(0.0)
        return self._acts.get_nowait()

    def listen(self, wire: NearWire, take: Take, broken: Act, look: Look) -> None:
        """Receive from a connection from now on; messages go to `take`, on the waiting thread.

        `broken` is called once, if the other end has gone.  `look` is called twice a second, each
        time after everything that had arrived was taken.
        """
        listener = _Listener(wire, take, broken, look)
        self._do(lambda: self._add(listener))

    def drop(self, wire: NearWire) -> None:
        """Close a connection, registered or not, on the waiting thread."""
        self._do(lambda: self._drop(wire))

    def receive(self, timeout_s: float = LOOK_S) -> None:
        """Receive all that has arrived; waits up to `timeout_s` for a message or a `put`."""
        self._run_tasks()
        for each in self._listeners.values():
            if each.wire.has_backlog:
                self._poller.register(each.wire.pollable, zmq.POLLIN | zmq.POLLOUT)
        for ready, events in self._poller.poll(int(timeout_s * 1000)):
            listener = self._listeners.get(ready)
            if listener is None:
                self._wake_reader.recv(4096)  # the only other thing polled
                continue
            if events & zmq.POLLOUT:
                self._flush(listener.wire)
            if events & ~zmq.POLLOUT:
                self._take_all(listener)
        self._check_all()

    def close(self) -> None:
        """Close all connections; no thread may be waiting."""
        self._run_tasks()
        for listener in tuple(self._listeners.values()):
            self._drop(listener.wire)
        self._wake_reader.close()
        self._wake_writer.close()

    def _do(self, task: Act) -> None:
        self._tasks.put(task)
        self._wake()

    def _run_tasks(self) -> None:
        with contextlib.suppress(Empty):
            while True:
                self._tasks.get_nowait()()

    def _wake(self) -> None:
        if threading.get_ident() != self._waiter:
            # A full pipe wakes the thread already; a closed one has no reader.
            with contextlib.suppress(BlockingIOError, OSError):
                self._wake_writer.send(b"\0")

    def _add(self, listener: _Listener) -> None:
        self._listeners[listener.wire.pollable] = listener
        self._poller.register(listener.wire.pollable, zmq.POLLIN)

    def _drop(self, wire: NearWire) -> None:
        self._unregister(wire)
        wire.close()

    def _unregister(self, wire: NearWire) -> None:
        listener = self._listeners.get(wire.pollable)
        # A file descriptor may have been reused since the connection was closed.
        if listener is not None and listener.wire is wire:
            del self._listeners[wire.pollable]
            self._poller.unregister(wire.pollable)

    def _flush(self, wire: NearWire) -> None:
        wire.flush()
        if not wire.has_backlog:
            self._poller.register(wire.pollable, zmq.POLLIN)

    def _take_all(self, listener: _Listener) -> None:
        try:
            for message in listener.wire.read():
                listener.take(message)
        except EOFError:
            self._unregister(listener.wire)
            listener.broken()

    def _check_all(self) -> None:
        """Twice a second, have all connections check for silence."""
        now = time.monotonic()
        if now - self._looked_at >= LOOK_S:
            was_away = now - self._looked_at > GAP_S
            self._looked_at = now
            for listener in tuple(self._listeners.values()):
                listener.look(now, was_away)
