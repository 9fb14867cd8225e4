"""How many tokens of a text are visible: a token is, once all of its bytes are."""

import codecs
from collections import deque


class ShownTokens:
    """Follows the tokens of one text, and the characters of it that became visible.

    The visible text is a beginning of the text of all bytes, as `TextStream` shows it.
    """

    def __init__(self, count: int = 0) -> None:
        """Begin behind `count` tokens that are visible."""
        self.count = count
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._num_bytes = 0
        self._visible = 0  # so many bytes are
        self._ends: deque[int] = deque()  # where each hidden character ends, in bytes
        self._hidden: deque[tuple[int, int]] = deque()  # the other tokens: start and end, in bytes

    def push(self, token: bytes, num_characters: int) -> int:
        """Add a token with which so many characters became visible; returns how many tokens are."""
        start = self._num_bytes
        for byte in token:
            self._read(bytes([byte]))
        self._hidden.append((start, self._num_bytes))
        self._show(num_characters)
        return self.count

    def finish(self, num_characters: int, stopped: bool) -> int:
        """Show what was held back; returns how many tokens begin in the text as it is shown."""
        self._read(b"", final=True)
        self._show(num_characters)
        begun = (not stopped or start < self._visible for start, _ in self._hidden)
        return self.count + sum(begun)

    def _read(self, byte: bytes, final: bool = False) -> None:
        """Note where characters end; one byte ends at most the one before it, and itself."""
        text = self._decoder.decode(byte, final)
        self._num_bytes += len(byte)
        pending = len(self._decoder.getstate()[0])
        self._ends.extend(
            self._num_bytes - pending - behind for behind in reversed(range(len(text)))
        )

    def _show(self, num_characters: int) -> None:
        for _ in range(num_characters):
            self._visible = self._ends.popleft()
        while self._hidden and self._hidden[0][1] <= self._visible:
            self._hidden.popleft()
            self.count += 1
