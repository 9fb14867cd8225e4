"""What new events add to one text of a stream: visible text, and the tokens that it shows."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from gac.core import FinishEvent, TokenEvent
from gac.server.shape import Written


@dataclass(frozen=True)
class Piece:
    """What one chunk tells: some text, the tokens that became visible with it, and the end.

    `committed` are the tokens that came about since the last one, visible or not.
    """

    text: str
    shown: Sequence[TokenEvent]
    committed: Sequence[TokenEvent]
    finish: FinishEvent | None


class Progress:
    """One text as far as it is written; keeps no token that was shown."""

    def __init__(self) -> None:
        self.num_tokens = 0
        self._num_shown = 0
        self._hidden: deque[TokenEvent] = deque()

    def take(self, events: Sequence[Written]) -> Piece:
        """What these events add, in their order."""
        text, shown, finish = [], list[TokenEvent](), None
        for event in events:
            text.append(event.text)
            if isinstance(event, FinishEvent):
                finish = event
            else:
                self.num_tokens += 1
                if event.likelihood is not None:
                    self._hidden.append(event)
            shown += self._uncovered(event.num_shown)
        committed = [event for event in events if isinstance(event, TokenEvent)]
        return Piece("".join(text), shown, committed, finish)

    def _uncovered(self, num_shown: int) -> list[TokenEvent]:
        count = min(num_shown - self._num_shown, len(self._hidden))
        self._num_shown = max(self._num_shown, num_shown)
        return [self._hidden.popleft() for _ in range(count)]
