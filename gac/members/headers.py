"""The first frame of every message between an engine and a member: what it is, and to what."""

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from struct import error as StructError
from typing import Any

_FORMAT = Struct("!BIQ")


class Kind(IntEnum):
    """What a message is; the first two go down to the member, the others up."""

    EXTEND = 1
    RELEASE = 2
    REPLY = 3
    ERROR = 4
    BEAT = 5


@dataclass(frozen=True, slots=True)
class Header:
    """`epoch` tells lives of members apart, all those of one server; `call` a life's batches."""

    kind: Kind
    epoch: int
    call: int = 0

    def pack(self) -> bytes:
        """As a frame."""
        return _FORMAT.pack(self.kind, self.epoch, self.call)

    @classmethod
    def unpack(cls, frame: Any) -> "Header":
        """From a frame.  Raises: ValueError if it is none of ours."""
        try:
            kind, epoch, call = _FORMAT.unpack(frame)
        except StructError as error:
            raise ValueError(str(error)) from error
        return cls(Kind(kind), epoch, call)
