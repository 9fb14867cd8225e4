"""The header of every message between the engine and a member."""

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from struct import error as StructError
from typing import Any

_FORMAT = Struct("!BIQ")


class Kind(IntEnum):
    """The kind of a message; the first two go to the member, the others to the engine."""

    EXTEND = 1
    RELEASE = 2
    REPLY = 3
    ERROR = 4
    BEAT = 5


@dataclass(frozen=True, slots=True)
class Header:
    """`epoch` numbers all starts of members of one server; `call` the batches since that start."""

    kind: Kind
    epoch: int
    call: int = 0

    def pack(self) -> bytes:
        """As a frame."""
        return _FORMAT.pack(self.kind, self.epoch, self.call)

    @classmethod
    def unpack(cls, frame: Any) -> "Header":
        """From a frame.  Raises: ValueError if it is not a valid header."""
        try:
            kind, epoch, call = _FORMAT.unpack(frame)
        except StructError as error:
            raise ValueError(str(error)) from error
        return cls(Kind(kind), epoch, call)
