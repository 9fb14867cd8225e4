"""The step's fast path: sockets between the engine and members on the same machine.

A plain Ray call to two members costs about as much as a small model's forward pass; ZeroMQ sockets
a tenth of that.  Ray still places the members and tells when one dies.  Messages are JSON and
float32 arrays, never pickles; the sockets lie in a directory that only this user can enter.
"""

import json
import logging
import tempfile
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import zmq

from gac.core import Extend
from gac.errors import MemberError
from gac.members.host import MemberHost
from gac.members.member import Rows

logger = logging.getLogger(__name__)

Frames = list[Any]


def pack_batch(call: int, batch: Sequence[Extend]) -> bytes:
    """A batch as one frame."""
    items = [[x.sequence, x.kept, x.tail, x.positions, x.lead] for x in batch]
    return json.dumps({"call": call, "extend": items}).encode()


def unpack_batch(items: Iterable[Sequence[Any]]) -> list[Extend]:
    """The batch of a frame."""
    return [
        Extend(sequence, kept, tuple(tail), tuple(positions), lead)
        for sequence, kept, tail, positions, lead in items
    ]


def pack_rows(call: int, rows: Rows) -> Frames:
    """An answer as two frames: each item's number of rows, or its error, and all rows."""
    arrays = [of_item for of_item in rows if not isinstance(of_item, MemberError)]
    counts = [x.message if isinstance(x, MemberError) else len(x) for x in rows]
    table = np.ascontiguousarray(np.concatenate(arrays)) if arrays else np.empty((0, 0))
    return [json.dumps({"call": call, "rows": counts}).encode(), table if table.size else b""]


def unpack_rows(counts: Sequence[int | str], data: Any) -> Rows:
    """The rows of an answer's frames, sharing their memory."""
    flat = np.frombuffer(data, dtype=np.float32)
    total = sum(count for count in counts if isinstance(count, int))
    table = flat.reshape(total, flat.size // total) if flat.size else flat.reshape(0, 0)
    rows: Rows = []
    start = 0
    for count in counts:
        if isinstance(count, str):
            rows.append(MemberError(count))
        else:
            rows.append(table[start : start + count])
            start += count
    return rows


def serve_line(host: MemberHost, down: str, up: str) -> threading.Thread:
    """The far end: a thread that answers what comes down, for as long as the process lives.

    Raises: zmq.ZMQError if the sockets cannot be opened.
    """
    context = zmq.Context()
    incoming, outgoing = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    incoming.bind(down)
    outgoing.connect(up)

    def loop() -> None:
        while True:
            message = json.loads(incoming.recv())
            if "release" in message:
                host.release(message["release"])
            else:
                outgoing.send_multipart(_answered(host, message), copy=False)

    thread = threading.Thread(target=loop, name="line", daemon=True)
    thread.start()
    return thread


def _answered(host: MemberHost, message: dict[str, Any]) -> Frames:
    call = message["call"]
    try:
        return pack_rows(call, host.extend(unpack_batch(message["extend"])))
    except MemberError as error:
        reason = error.message
    except Exception as error:  # the edge of a process: the engine must hear of it
        logger.exception("a batch failed")
        reason = f"{type(error).__name__}: {error}"
    return [json.dumps({"call": call, "error": reason}).encode(), b""]


class Line:
    """The near end of a member's sockets.

    `extend` and `release` belong to one thread; answers are taken in on the exchange's.
    """

    def __init__(self, name: str, exchange: "Exchange") -> None:
        self._name = name
        self.down, self.up = exchange.endpoints()
        self._outgoing = exchange.context.socket(zmq.PUSH)
        self._outgoing.setsockopt(zmq.LINGER, 0)
        # Connecting, unlike binding, gives a queue at once: sending never blocks the engine's
        # thread, not even when the member has died.
        self._outgoing.setsockopt(zmq.SNDHWM, 0)
        self._outgoing.connect(self.down)
        self._waiting: dict[int, Future[Rows]] = {}
        self._next_call = 0
        self._lost: Exception | None = None
        self._lock = threading.Lock()
        exchange.listen(self.up, self._take)

    def extend(self, batch: Sequence[Extend]) -> "Future[Rows]":
        """Send a batch; the future holds its rows."""
        future: Future[Rows] = Future()
        with self._lock:
            if self._lost is not None:
                future.set_exception(self._lost)
                return future
            self._next_call += 1
            self._waiting[self._next_call] = future
        self._outgoing.send(pack_batch(self._next_call, batch))
        return future

    def release(self, sequences: Iterable[int]) -> None:
        """Tell the member to forget sequences."""
        self._outgoing.send(json.dumps({"release": list(sequences)}).encode())

    def lose(self, error: Exception) -> None:
        """The member is gone: fail what waits for it, and all that is asked later."""
        with self._lock:
            self._lost = error
            waiting, self._waiting = list(self._waiting.values()), {}
        for future in waiting:
            future.set_exception(error)

    def _take(self, frames: Frames) -> None:
        header = json.loads(bytes(frames[0].buffer))
        with self._lock:
            future = self._waiting.pop(header["call"], None)
        if future is None:
            return
        if "error" in header:
            reason = header["error"]
            is_named = reason.startswith("member ")
            named = reason if is_named else f"member {self._name!r} failed: {reason}"
            future.set_exception(MemberError(named))
        else:
            future.set_result(unpack_rows(header["rows"], frames[1].buffer))

    def close(self) -> None:
        """Let go of the sending socket."""
        self._outgoing.close()


class Exchange:
    """All near ends of a process: one context, one private directory, one thread that listens."""

    def __init__(self) -> None:
        self.context = zmq.Context()
        self._folder = tempfile.TemporaryDirectory(prefix="gac-")
        self._num_lines = 0
        self._new: SimpleQueue[tuple[Any, Callable[[Frames], None]] | None] = SimpleQueue()
        self._bell = self.context.socket(zmq.PAIR)
        self._bell.bind("inproc://bell")
        self._thread = threading.Thread(target=self._listen, name="exchange", daemon=True)
        self._thread.start()

    def endpoints(self) -> tuple[str, str]:
        """Addresses for one more line, down to the member and up from it."""
        self._num_lines += 1
        stem = Path(self._folder.name) / str(self._num_lines)
        return f"ipc://{stem}.down", f"ipc://{stem}.up"

    def listen(self, endpoint: str, take: Callable[[Frames], None]) -> None:
        """Hand every message that arrives at an endpoint to `take`, on the exchange's thread.

        Raises: zmq.ZMQError if the socket cannot be opened.
        """
        incoming = self.context.socket(zmq.PULL)
        incoming.bind(endpoint)
        self._new.put((incoming, take))
        self._bell.send(b"")

    def _listen(self) -> None:
        bell = self.context.socket(zmq.PAIR)
        bell.connect("inproc://bell")
        takers: dict[Any, Callable[[Frames], None]] = {}
        poller = zmq.Poller()
        poller.register(bell, zmq.POLLIN)
        while True:
            for ready, _ in poller.poll():
                if ready is not bell:
                    takers[ready](ready.recv_multipart(copy=False))
                    continue
                bell.recv()
                added = self._new.get()
                if added is None:
                    for opened in (bell, *takers):
                        opened.close(linger=0)
                    return
                incoming, takers[incoming] = added[0], added[1]
                poller.register(incoming, zmq.POLLIN)

    def close(self) -> None:
        """End the thread and remove the directory; lines must be closed before."""
        self._new.put(None)
        self._bell.send(b"")
        self._thread.join()
        self._bell.close(linger=0)
        self.context.destroy(linger=0)
        self._folder.cleanup()
