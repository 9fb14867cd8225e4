"""The messages on a member's sockets, batches and replies; typed, never pickled.

MessagePack by msgspec, which checks every message against these types as it reads it.
"""

from collections.abc import Sequence

import msgspec
import numpy as np

from gac.core import Answer, Entries, Extend
from gac.errors import MemberError
from gac.members.member import Reply


class _Row(msgspec.Struct, array_like=True):
    """Little-endian int32 ids and float32 probabilities; a dense row's ids are left out."""

    ids: bytes | None
    probs: bytes
    bound: float


class _Answer(msgspec.Struct, array_like=True):
    rows: list[_Row]
    written: tuple[int, ...]
    error: str | None = None


class _Reply(msgspec.Struct, array_like=True):
    answers: list[_Answer]
    forward_s: float
    row_s: float


_encoder = msgspec.msgpack.Encoder()
_batch_decoder = msgspec.msgpack.Decoder(list[Extend])
_reply_decoder = msgspec.msgpack.Decoder(_Reply)


def pack_batch(batch: Sequence[Extend]) -> bytes:
    """A batch as one frame."""
    return _encoder.encode(list(batch))


def unpack_batch(frame: bytes) -> list[Extend]:
    """The batch in a frame.  Raises: msgspec.DecodeError if it is not a batch."""
    return _batch_decoder.decode(frame)


def pack_reply(reply: Reply) -> bytes:
    """A reply as one frame."""
    answers = [_packed(answer) for answer in reply.answers]
    return _encoder.encode(_Reply(answers, reply.forward_s, reply.row_s))


def _packed(answer: Answer | MemberError) -> _Answer:
    if isinstance(answer, MemberError):
        return _Answer([], (), answer.message)
    rows = [
        _Row(None if _is_dense(row) else row.ids.tobytes(), row.probs.tobytes(), row.bound)
        for row in answer.rows
    ]
    return _Answer(rows, answer.written)


def _is_dense(row: Entries) -> bool:
    """Whether ids are 0, 1, 2 ...; never for a row of a few entries, where they cost little."""
    ids = row.ids
    return row.is_complete and bool((ids == np.arange(ids.size)).all())


def unpack_reply(frame: bytes | memoryview) -> Reply:
    """The reply in a frame.  Raises: msgspec.DecodeError if it is not a reply."""
    reply = _reply_decoder.decode(frame)
    return Reply([_unpacked(answer) for answer in reply.answers], reply.forward_s, reply.row_s)


def _unpacked(answer: _Answer) -> Answer | MemberError:
    if answer.error is not None:
        return MemberError(answer.error)
    return Answer(tuple(_row(row) for row in answer.rows), answer.written)


def _row(row: _Row) -> Entries:
    probs = np.frombuffer(row.probs, dtype=np.float32)
    if row.ids is None:
        return Entries(np.arange(probs.size, dtype=np.int32), probs, row.bound)
    return Entries(np.frombuffer(row.ids, dtype=np.int32), probs, row.bound)
