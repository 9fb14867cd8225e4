"""Bytes to text that can be shown: whole characters only, cut at a stop string.

The pieces joined equal the text of all bytes at once, whatever the cuts between tokens.
"""

import codecs
from collections.abc import Sequence


def begun_character(text: bytes) -> bytes:
    """The bytes at the end of a text that may still become a character with those that follow."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(text)
    return decoder.getstate()[0]


class TextStream:
    """Turns the bytes of one sequence into text, piece by piece.

    Bytes that can no longer become a character show as U+FFFD.  A stop string (never empty) is
    matched on text, so it may lie inside a token or across several; text that could still become
    one is held back.  The stop that is complete first counts, of those the longest.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stops = tuple(stops)
        self._longest = max(map(len, stops), default=0)
        self._held = ""
        self.stopped = False

    def push(self, token: bytes) -> str:
        """The text that becomes visible with these bytes; `stopped` is set by a complete stop."""
        text = self._take(token)
        keep = self._length_held_back(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """The text still held back, at the end of a sequence; none after a stop string."""
        text = self._take(b"", final=True)
        self._held = ""
        return text

    def _take(self, token: bytes, final: bool = False) -> str:
        """The text not yet shown, up to a stop string; nothing after one."""
        if self.stopped:
            return ""
        text = self._held + self._decoder.decode(token, final)
        starts = ((text.find(stop), stop) for stop in self._stops)
        matches = [(start + len(stop), start) for start, stop in starts if start >= 0]
        if not matches:
            return text
        self.stopped = True
        return text[: min(matches)[1]]

    def _length_held_back(self, text: str) -> int:
        """Length of the longest end of the text with which some stop string begins."""
        if self.stopped:
            return 0
        for length in range(min(self._longest - 1, len(text)), 0, -1):
            end = text[-length:]
            if any(stop.startswith(end) for stop in self._stops):
                return length
        return 0
