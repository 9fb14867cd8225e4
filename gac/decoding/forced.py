"""Tokens that are given, in place of those that rows would decide."""

from gac.core import Forced, Pick, Row
from gac.decoding.combine import Vote, owners


def forced_pick(forced: Forced, position: int, vote: Vote) -> Pick | None:
    """The given token of a position, owned as if these rows had decided it; None: entries lack."""
    token = forced.tokens[position]
    owning = owners(vote.rows, vote.weights, token)
    if owning is None:
        return None
    if forced.member is not None:
        owning = tuple(sorted({*owning, forced.member}))
    return Pick(position, token, owning)


def is_favourite(row: Row, token: int) -> bool:
    """Whether no token is more probable than this one, which the row lists."""
    entries = row.entries
    own = entries.probs[entries.ids == token]
    return bool(own.size and own.max() >= entries.probs.max())
