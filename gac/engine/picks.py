"""What a drafter's rows decide, remembered: each row is decided once."""

from gac.core import Entries, Pick, Row
from gac.decoding.flow import Decide


class Picks:
    """The picks made from a drafter's rows, so that each is made once.

    A draft begins with tokens that were held back, or drafted while the last one was verified.  To
    pick them again from complete rows would take longer than a small model's forward pass.
    """

    def __init__(self) -> None:
        self._kept: dict[int, tuple[Entries, Pick]] = {}

    def pick(self, row: Row, decide: Decide) -> Pick | None:
        """The pick of `decide`, which is the same for all drafts of a sequence, from this row."""
        entries, pick = self._kept.get(row.position, (None, None))
        if entries is not row.entries:
            pick = decide([row])
            if pick is not None:
                self._kept[row.position] = row.entries, pick
        return pick

    def forget(self, num_tokens: int) -> None:
        """Drop those of tokens that are committed."""
        self._kept = {place: kept for place, kept in self._kept.items() if place >= num_tokens}
