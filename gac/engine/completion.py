"""Rows that list too few entries to pick a token, and what their members are asked for then."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from gac.core import Row
from gac.decoding.flow import Commit
from gac.errors import GacError

MOST_ENTRIES = 1024
"""For more than so many, all entries are asked for: a list of ids would cost more than it saves."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What every row is asked to list beside its largest entries: some more (union ids), or all.

    Where tokens are forced no draw is made, and only with `forced_dense` all are wanted there.
    """

    dense: bool = False
    entries: tuple[int, ...] = ()
    forced_dense: bool = False

    def of(self, forced: Iterable[int]) -> "Listing":
        """What rows have to list at positions where these tokens (union ids) are forced, if any."""
        tokens = set(forced)
        if not tokens:
            return self
        return Listing(self.forced_dense, tuple(sorted(tokens.union(self.entries))))


SHORT = Listing()


@dataclass(frozen=True, slots=True)
class Completion:
    """A commit that waits for more entries: those of `entries` (union ids), or all if `dense`."""

    commit: Commit
    entries: tuple[int, ...] = ()
    dense: bool = False

    @property
    def members(self) -> tuple[str, ...]:
        """Whose rows are completed."""
        return tuple(row.member for row in self.commit.rows)

    def lacks(self, row: Row) -> bool:
        """Whether a row does not list what is wanted."""
        if row.entries.is_complete:
            return False
        return self.dense or bool(np.setdiff1d(self.entries, row.entries.ids).size)


def complete(commit: Commit, tried: Completion | None = None) -> Completion:
    """What to ask for: the entries that only some rows list.

    All entries, where the rows list the same ones, or more than `MOST_ENTRIES`; it is an error if
    they were `tried` already.
    """
    if tried is not None and tried.dense:
        raise GacError("a token stays undecided although all entries are known")
    if max(row.entries.ids.size for row in commit.rows) > MOST_ENTRIES:
        return Completion(commit, dense=True)
    listed = np.unique(np.concatenate([row.entries.ids for row in commit.rows]))
    some = Completion(commit, tuple(listed.tolist()))
    if any(some.lacks(row) for row in commit.rows):
        return some
    return Completion(commit, dense=True)
