"""What an engine waits on: acts for its own thread, and the sockets it hears members through.

One thread waits, and is the only one to touch the sockets; every other may put.  Without sockets a
`queue.SimpleQueue` is an inbox.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Protocol

import zmq

from gac.members.loss import GAP_S

Act = Callable[[], None]
Frames = list[Any]
Take = Callable[[Frames], None]
Look = Callable[[float, bool], None]
"""Told the time, and whether nobody had looked for so long that silence means nothing."""

LOOK_S = 0.5
"""How often listeners are asked whether they miss something."""


class Inbox(Protocol):
    """Acts for the engine's thread, in the order in which they were put."""

    def put(self, act: Act, /) -> None:
        """Leave an act; any thread may."""

    def get(self) -> Act:
        """The next act; waits for it."""

    def get_nowait(self) -> Act:
        """The next act.  Raises: queue.Empty if there is none."""


class SocketInbox:
    """An inbox that receives on the thread that waits, so that an answer wakes one thread only.

    What sockets bring goes to the taker each was given with, and may put acts in turn.
    """

    def __init__(self) -> None:
        self._acts: SimpleQueue[Act] = SimpleQueue()
        self._chores: SimpleQueue[Act] = SimpleQueue()
        self._takers: dict[Any, tuple[Take, Look | None]] = {}
        self._looked_at = 0.0
        self._bell, self._rope = socket.socketpair()
        self._bell.setblocking(False)
        self._rope.setblocking(False)
        self._poller = zmq.Poller()
        self._poller.register(self._bell, zmq.POLLIN)
        self._waiter = 0

    def put(self, act: Act, /) -> None:
        """Leave an act; wakes the thread that waits, unless it is the caller's own."""
        self._acts.put(act)
        self._ring()

    def get(self) -> Act:
        """The next act; waits for it, and receives meanwhile."""
        self._waiter = threading.get_ident()
        while True:
            with contextlib.suppress(Empty):
                return self._acts.get_nowait()
            self.receive()

    def get_nowait(self) -> Act:
        """The next act, or one of what has arrived.  Raises: queue.Empty if there is none."""
        with contextlib.suppress(Empty):
            return self._acts.get_nowait()
        self.receive(0.0)
        return self._acts.get_nowait()

    def listen(self, incoming: Any, take: Take, look: Look | None = None) -> None:
        """Hand over a socket; all that it receives goes to `take`, on the thread that waits.

        `look` is called twice a second, each time after everything that had arrived was taken.
        """
        self._do(lambda: self._add(incoming, take, look))

    def drop(self, *sockets: Any) -> None:
        """Close sockets, those listened to and others, on the thread that waits."""
        self._do(lambda: self._drop(sockets))

    def receive(self, timeout_s: float = LOOK_S) -> None:
        """Take in everything that has arrived; waits a while for something, or for a put."""
        self._do_chores()
        for ready, _ in self._poller.poll(int(timeout_s * 1000)):
            if ready in self._takers:
                self._take_all(ready)
            else:
                self._bell.recv(4096)
        now = time.monotonic()
        if now - self._looked_at >= LOOK_S:
            was_away = now - self._looked_at > GAP_S
            self._looked_at = now
            for _, look in tuple(self._takers.values()):
                if look is not None:
                    look(now, was_away)

    def close(self) -> None:
        """Close all sockets; nobody may wait any more."""
        self._do_chores()
        self._drop(tuple(self._takers))
        self._bell.close()
        self._rope.close()

    def _do(self, chore: Act) -> None:
        self._chores.put(chore)
        self._ring()

    def _do_chores(self) -> None:
        with contextlib.suppress(Empty):
            while True:
                self._chores.get_nowait()()

    def _ring(self) -> None:
        if threading.get_ident() != self._waiter:
            # A full pipe rings already; a closed one has nobody to wake.
            with contextlib.suppress(BlockingIOError, OSError):
                self._rope.send(b"\0")

    def _add(self, incoming: Any, take: Take, look: Look | None) -> None:
        self._takers[incoming] = (take, look)
        self._poller.register(incoming, zmq.POLLIN)

    def _drop(self, sockets: tuple[Any, ...]) -> None:
        for each in sockets:
            if self._takers.pop(each, None) is not None:
                self._poller.unregister(each)
            each.close(linger=0)

    def _take_all(self, incoming: Any) -> None:
        take, _ = self._takers[incoming]
        with contextlib.suppress(zmq.Again):
            while True:
                take(incoming.recv_multipart(zmq.NOBLOCK, copy=False))
