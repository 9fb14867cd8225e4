"""Sockets between the engine and its members, which are faster than Ray calls.

A plain Ray call to two members costs about as much as a small model's forward pass; sockets a tenth
of that.  Ray still places the members and tells when one dies.  On one machine the sockets lie in a
directory that only this user can enter; across machines they are TCP, encrypted, and each end knows
the other's key.
"""

import itertools
import json
import logging
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from pathlib import Path

import msgspec
import zmq

from gac.core import Extend
from gac.errors import MemberError, MemberLost
from gac.members.curve import Keys
from gac.members.ends import Ends
from gac.members.headers import Header, Kind
from gac.members.inbox import SocketInbox
from gac.members.loss import SILENCE_S, Loss, hangs
from gac.members.member import Reply
from gac.members.messages import pack_batch, unpack_reply
from gac.members.socket_folder import short_folder
from gac.members.tcp_wire import NearTcpWire
from gac.members.unix_wire import NearUnixWire
from gac.members.wires import Message, NearWire

logger = logging.getLogger(__name__)


class Line:
    """The engine's end of a member's sockets, which are open at the member's end already.

    `extend` and `release` belong to the thread that waits at the exchange's inbox; answers are
    taken in on it, too.
    """

    def __init__(self, name: str, exchange: "Exchange", ends: Ends, loss: Loss) -> None:
        self._name = name
        self._loss = loss
        self._heard_at = time.monotonic()
        self.ends = ends
        self._epoch = ends.epoch
        self._inbox = exchange.inbox
        self._wire = exchange.wire(ends)
        self._waiting: dict[int, Future[Reply]] = {}
        self._next_call = 0
        self._lost: Exception | None = None
        self._lock = threading.Lock()
        self._inbox.listen(self._wire, self._take, self._broken, self._look)
        loss.when(self._fail)

    def extend(self, batch: Sequence[Extend]) -> "Future[Reply]":
        """Send a batch; the future holds its rows."""
        future: Future[Reply] = Future()
        with self._lock:
            if self._lost is not None:
                future.set_exception(self._lost)
                return future
            self._next_call += 1
            call = self._next_call
            self._waiting[call] = future
        header = Header(Kind.EXTEND, self._epoch, call).pack()
        self._wire.send(header, pack_batch(batch))
        return future

    def release(self, sequences: Iterable[int]) -> None:
        """Tell the member to forget sequences."""
        header = Header(Kind.RELEASE, self._epoch).pack()
        self._wire.send(header, json.dumps(list(sequences)).encode())

    def _broken(self) -> None:
        """The connection is closed, which only the end of the member's process does."""
        self._loss.happen(MemberLost(f"member {self._name!r} died: its connection closed"))

    def _look(self, now: float, was_away: bool) -> None:
        """Declare a silent member lost; not for a time in which this process itself was stopped."""
        if was_away:
            self._heard_at = now
        elif now - self._heard_at > SILENCE_S:
            self._loss.happen(hangs(self._name))

    def _fail(self, error: Exception) -> None:
        """The member is lost: fail its open calls and all later ones."""
        with self._lock:
            self._lost = error
            waiting, self._waiting = list(self._waiting.values()), {}
        for future in waiting:
            future.set_exception(error)

    def _take(self, message: Message) -> None:
        """Handle one message; those of earlier starts of the member are dropped."""
        try:
            header = Header.unpack(message[0])
        except ValueError as error:
            logger.warning("member %r sent a message that cannot be decoded: %s", self._name, error)
            return
        if header.epoch != self._epoch:
            return
        self._heard_at = time.monotonic()
        with self._lock:
            future = self._waiting.pop(header.call, None)
        if future is None:
            return
        if header.kind is Kind.ERROR:
            reason = bytes(message[1]).decode()
            is_named = reason.startswith("member ")
            named = reason if is_named else f"member {self._name!r} failed: {reason}"
            future.set_exception(MemberError(named))
            return
        try:
            future.set_result(unpack_reply(message[1]))
        except msgspec.MsgspecError as error:
            future.set_exception(
                MemberError(f"an answer of member {self._name!r} cannot be decoded: {error}")
            )

    def close(self) -> None:
        """Close the connection."""
        self._inbox.drop(self._wire)


class Exchange:
    """The engine's side of all connections: a private directory, an inbox and a pair of keys."""

    def __init__(self) -> None:
        self._context = zmq.Context()
        self.inbox = SocketInbox()
        self._folder = tempfile.TemporaryDirectory(prefix="gac-", dir=short_folder())
        self._epochs = itertools.count(1)
        self.keys = Keys.make()

    def ends(self) -> Ends:
        """The address for the next start of a member on this machine."""
        epoch = next(self._epochs)
        return Ends(epoch, str(Path(self._folder.name) / str(epoch)))

    def far_ends(self) -> Ends:
        """For a start of a member on another machine, which adds its addresses and its key."""
        return Ends(next(self._epochs), engine_key=self.keys.public)

    def wire(self, ends: Ends) -> NearWire:
        """A connection to a member that listens there.  Raises: OSError if it does not."""
        if ends.path:
            return NearUnixWire(ends.path)
        return NearTcpWire(self._context, ends, self.keys)

    def close(self) -> None:
        """Close all sockets and remove the directory; no thread may wait at the inbox."""
        self.inbox.close()
        self._context.destroy(linger=0)
        self._folder.cleanup()
