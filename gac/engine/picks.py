"""What a drafter's rows decide, remembered: each row is decided once."""

from gac.core import Entries, Pick, Row
from gac.decoding.flow import Decide


class Picks:
    """What a drafter's rows were found to decide, so that each is decided once.

    A draft is opened anew for what was held back or written while another was looked at; a pick
    from all entries of a distribution takes longer than a small model's pass.
    """

    def __init__(self) -> None:
        self._kept: dict[int, tuple[Entries, Pick]] = {}

    def pick(self, row: Row, decide: Decide) -> Pick | None:
        """What `decide` says of this very row; a sequence has but one that decides drafts."""
        entries, pick = self._kept.get(row.position, (None, None))
        if entries is not row.entries:
            pick = decide([row])
            if pick is not None:
                self._kept[row.position] = row.entries, pick
        return pick

    def forget(self, num_tokens: int) -> None:
        """Drop what is committed by now."""
        self._kept = {place: kept for place, kept in self._kept.items() if place >= num_tokens}
