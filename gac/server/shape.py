"""What an answer is on the wire, apart from how its events are read and when it is sent."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from gac.core import FinishEvent, TokenEvent
from gac.engine.writer import WrittenText
from gac.errors import GacError

Written = TokenEvent | FinishEvent


class Shape(Protocol):
    """One answer in the form that its client expects; an object for each answer.

    Of a stream, what `begin` gives precedes all pieces, and `end` or `broken` is the last.  Of an
    answer that is sent whole only `whole` is asked for.
    """

    headers: Mapping[str, str]
    """Sent beside those of the content."""

    def begin(self) -> bytes:
        """What a stream starts with."""

    def pieces(self, events: Sequence[Written]) -> bytes:
        """What these events add to a stream, maybe nothing."""

    def end(self, texts: Sequence[WrittenText], hints: Sequence[str]) -> bytes:
        """The end of a stream whose texts are all written."""

    def broken(self, error: GacError) -> bytes:
        """The end of a stream that failed after its first byte."""

    def whole(self, texts: Sequence[WrittenText], hints: Sequence[str]) -> bytes:
        """The JSON of all texts."""

    def in_client_words(self, error: GacError) -> GacError:
        """An error in the words of the client's request."""


def frame(data: bytes, event: str = "") -> bytes:
    """One server-sent event; JSON has no line breaks."""
    name = f"event: {event}\n".encode() if event else b""
    return name + b"data: " + data + b"\n\n"
