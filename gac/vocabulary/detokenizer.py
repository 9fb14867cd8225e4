"""Bytes to text that can be shown: whole characters only, cut at a stop string.

The pieces joined equal the text of all bytes at once, whatever the cuts between tokens.
"""

import codecs
from collections.abc import Sequence


class TextStream:
    """Turns the bytes of one sequence into text, piece by piece.

    Bytes that can no longer become a character show as U+FFFD.  A stop string is matched on text,
    so it may lie inside a token or across several; text that could still become one is held back.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stops = tuple(stops)
        self._longest = max(map(len, stops), default=0)
        self._held = ""
        self.stopped = False

    def push(self, token: bytes) -> str:
        """The text that becomes visible with these bytes; `stopped` is set by a complete stop."""
        text = self._held + self._decoder.decode(token)
        match = self._earliest_stop(text)
        if match is not None:
            self.stopped = True
            self._held = ""
            return text[:match]
        keep = self._length_held_back(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """The text still held back, at the end of a sequence; none after a stop string."""
        if self.stopped:
            return ""
        text = self._held + self._decoder.decode(b"", final=True)
        self._held = ""
        return text

    def _earliest_stop(self, text: str) -> int | None:
        places = (text.find(stop) for stop in self._stops)
        return min((place for place in places if place >= 0), default=None)

    def _length_held_back(self, text: str) -> int:
        """Length of the longest end of the text with which some stop string begins."""
        for length in range(min(self._longest - 1, len(text)), 0, -1):
            end = text[-length:]
            if any(stop.startswith(end) for stop in self._stops):
                return length
        return 0
