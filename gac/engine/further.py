"""Forced tokens behind a draft: a verifier is told of them with it, and then knows later drafts.

Its rows there are used if they turn out to follow the ids that the member then has.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gac.core import Ids
from gac.vocabulary.alignment import LookAhead


@dataclass(frozen=True, slots=True)
class Further:
    """Ids told beyond those needed, after how many ids rows are wanted, and what these list."""

    ids: tuple[int, ...] = ()
    positions: tuple[int, ...] = ()
    entries: frozenset[int] = frozenset()


def further_of(
    ahead: LookAhead,
    num_drafted: int,
    needed: Sequence[int],
    most: int,
    union_ids: Ids,
    forced: Sequence[int],
) -> Further:
    """What to tell of a text that goes on behind `needed`, at most so many ids.

    `ahead` is the draft with the forced tokens behind it; `union_ids` are those of the member's
    ids.  Nothing, if the member would have other ids for the draft, too.
    """
    if list(needed) != ahead.ids[: len(needed)]:
        return Further()
    last = min(len(needed) + most, len(ahead.ids) - 1)
    places = [n for n in ahead.places[num_drafted:] if n is not None and len(needed) < n <= last]
    if not places:
        return Further()
    own = {int(union_ids[ahead.ids[place]]) for place in places}
    return Further(
        tuple(ahead.ids[len(needed) : places[-1]]), tuple(places), frozenset(own | set(forced))
    )
