"""The far end of a member's sockets: one thread answers what comes down, one sends heartbeats.

Knows nothing of Ray; what the frames say is `transport`'s affair.
"""

import json
import logging
import threading
from collections.abc import Callable
from dataclasses import replace

import zmq

from gac.errors import MemberError
from gac.members.curve import Keys, guard_server
from gac.members.headers import Header, Kind
from gac.members.host import MemberHost
from gac.members.inbox import Frames
from gac.members.messages import pack_reply, unpack_batch
from gac.members.transport import Ends

logger = logging.getLogger(__name__)

BEAT_S = 1.0


class FarEnd:
    """Answers batches, one after the other, until it is closed.

    An error of a batch is an answer.  Any other defect ends it: the heart stops with the loop, and
    `on_defect` is called.
    """

    def __init__(
        self, host: MemberHost, ends: Ends, on_defect: Callable[[], None] = lambda: None
    ) -> None:
        """Raises: zmq.ZMQError if the sockets cannot be opened."""
        self._host = host
        self._epoch = ends.epoch
        self._on_defect = on_defect
        self._context = zmq.Context()
        self._incoming = self._context.socket(zmq.PULL)
        self._outgoing = self._context.socket(zmq.PUSH)
        self._sending = threading.Lock()
        self._ended = threading.Event()
        self.ends = self._bind(ends)
        for act, name in ((self._serve, "line"), (self._beat, "heart")):
            threading.Thread(target=act, name=name, daemon=True).start()

    def _bind(self, ends: Ends) -> Ends:
        """The ends as bound, with the key this end proves itself by where the engine has one."""
        sockets = [self._incoming, self._outgoing]
        if ends.engine_key:
            keys = Keys.make()
            guard_server(self._context, sockets, keys, ends.engine_key)
            ends = replace(ends, member_key=keys.public)
        for opened, endpoint in zip(sockets, (ends.down, ends.up), strict=True):
            opened.setsockopt(zmq.IPV6, int("[" in endpoint))
            opened.bind(endpoint)
        down, up = (opened.getsockopt_string(zmq.LAST_ENDPOINT) for opened in sockets)
        return replace(ends, down=down, up=up)

    def _serve(self) -> None:
        try:
            while True:
                self._take(self._incoming.recv_multipart())
        except zmq.ContextTerminated:
            pass
        except Exception:  # the edge of a process: loud, as a silent end would look like a hang
            logger.exception("the line has failed")
            self._on_defect()
        finally:
            self._ended.set()
            with self._sending:
                self._incoming.close(linger=0)
                self._outgoing.close(linger=0)

    def _take(self, frames: Frames) -> None:
        try:
            header = Header.unpack(frames[0])
        except ValueError as error:
            logger.warning("not a message: %s", error)
            return
        if header.epoch != self._epoch:
            return
        if header.kind is Kind.RELEASE:
            self._host.release(json.loads(frames[1]))
        else:
            answer = self._answer(header.call, frames[1:])
            with self._sending:
                self._outgoing.send_multipart(answer, copy=False)

    def _answer(self, call: int, frames: Frames) -> Frames:
        try:
            reply = self._host.extend(unpack_batch(frames[0]))
            return [Header(Kind.REPLY, self._epoch, call).pack(), pack_reply(reply)]
        except MemberError as error:
            reason = error.message
        except Exception as error:  # the edge of a process: the engine must hear of it
            logger.exception("a batch failed")
            reason = f"{type(error).__name__}: {error}"
        return [Header(Kind.ERROR, self._epoch, call).pack(), reason.encode()]

    def _beat(self) -> None:
        beat = Header(Kind.BEAT, self._epoch).pack()
        while not self._ended.wait(BEAT_S):
            with self._sending:
                try:
                    self._outgoing.send(beat, zmq.NOBLOCK)
                except zmq.Again:
                    continue  # nobody listens yet, or nobody reads
                except zmq.ZMQError:
                    return

    def close(self) -> None:
        """End the threads and close the sockets; waits for the batch at hand."""
        self._context.term()
