"""The member's end of its sockets: one thread answers batches, one sends heartbeats.

Knows nothing of Ray; what messages say is the affair of `headers` and `messages`.
"""

import json
import logging
import threading
from collections.abc import Callable

from gac.errors import MemberError
from gac.members.ends import Ends
from gac.members.headers import Header, Kind
from gac.members.host import MemberHost
from gac.members.messages import pack_reply, unpack_batch
from gac.members.tcp_wire import FarTcpWire
from gac.members.unix_wire import FarUnixWire
from gac.members.wires import FarWire, Message

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
        """Raises: OSError or zmq.ZMQError if the sockets cannot be opened."""
        self._host = host
        self._epoch = ends.epoch
        self._on_defect = on_defect
        self._sending = threading.Lock()
        self._ended = threading.Event()
        self.ends = ends
        self._wire: FarWire
        if ends.path:
            self._wire = FarUnixWire(ends.path)
        else:
            self._wire = tcp = FarTcpWire(ends)
            self.ends = tcp.ends
        for act, name in ((self._serve, "line"), (self._beat, "heart")):
            threading.Thread(target=act, name=name, daemon=True).start()

    def _serve(self) -> None:
        try:
            while True:
                self._take(self._wire.receive())
        except EOFError:
            pass
        except Exception:  # end the process: a dead thread would look like a hang
            logger.exception("the connection to the server failed")
            self._on_defect()
        finally:
            self._ended.set()
            with self._sending:
                self._wire.end()

    def _take(self, message: Message) -> None:
        try:
            header = Header.unpack(message[0])
        except ValueError as error:
            logger.warning("a message from the server cannot be decoded: %s", error)
            return
        if header.epoch != self._epoch:
            return
        if header.kind is Kind.RELEASE:
            self._host.release(json.loads(message[1]))
        else:
            answer = self._answer(header.call, message[1])
            with self._sending:
                self._wire.send(*answer)

    def _answer(self, call: int, batch: bytes) -> tuple[bytes, bytes]:
        try:
            reply = self._host.extend(unpack_batch(batch))
            return Header(Kind.REPLY, self._epoch, call).pack(), pack_reply(reply)
        except MemberError as error:
            reason = error.message
        except Exception as error:  # reported to the engine
            logger.exception("a batch failed")
            reason = f"{type(error).__name__}: {error}"
        return Header(Kind.ERROR, self._epoch, call).pack(), reason.encode()

    def _beat(self) -> None:
        beat = Header(Kind.BEAT, self._epoch).pack()
        while not self._ended.wait(BEAT_S):
            try:
                with self._sending:
                    self._wire.beat(beat)
            except EOFError:
                return

    def close(self) -> None:
        """End the threads and close the connection; waits for the current batch."""
        self._wire.close()
