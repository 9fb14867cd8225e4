"""What a drafter's rows decide, remembered: each row is decided once.

Where penalties go by the tokens of a text, drafted ones are noted among them until others are.
"""

from gac.core import Entries, Pick, Row
from gac.decoding.flow import Decide
from gac.decoding.penalties import History


class Picks:
    """The picks made from a drafter's rows, so that each is made once.

    A draft begins with tokens that were held back, or drafted while the last one was verified.  To
    pick them again from complete rows would take longer than a small model's forward pass.
    """

    def __init__(self, history: History | None = None) -> None:
        self._history = history
        self._kept: dict[int, tuple[Entries, Pick]] = {}

    def pick(self, row: Row, decide: Decide) -> Pick | None:
        """The pick of `decide`, which is the same for all drafts of a sequence, from this row."""
        entries, pick = self._kept.get(row.position, (None, None))
        if entries is not row.entries:
            pick = decide([row])
            if pick is not None:
                self._kept[row.position] = row.entries, pick
        if pick is not None:
            self.commit(pick)
        return pick

    def commit(self, pick: Pick) -> None:
        """Note a token, drafted or committed; what was picked after another there is gone."""
        if self._history is not None and self._history.put(pick.position, pick.token):
            self._kept = {n: kept for n, kept in self._kept.items() if n <= pick.position}

    def forget(self, num_tokens: int) -> None:
        """Drop those of tokens that are committed."""
        self._kept = {place: kept for place, kept in self._kept.items() if place >= num_tokens}
