"""Sharper picks where the members together are unsure: mass that is spread over parts of a word."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gac.core import END, Row
from gac.decoding.combine import Aggregate, Vote, combine, looked_up
from gac.decoding.support import TokenOrder

SMOOTH_BELOW = 0.5


@dataclass(frozen=True, slots=True)
class Sharpened:
    """An aggregation, but where no token has half of the members' mean another: `sharper`.

    Source: SAFE (arXiv 2510.15346) section 3.3.
    """

    aggregate: Aggregate
    sharper: Aggregate

    def __call__(self, rows: Sequence[Row], weights: Mapping[str, float]) -> Vote | None:
        """The vote of these rows; None where more entries are needed."""
        mean = combine(rows, weights)
        if mean.low.max() >= SMOOTH_BELOW:
            return self.aggregate(rows, weights)
        if max(mean.bound, mean.high.max()) >= SMOOTH_BELOW:
            return None
        return self.sharper(rows, weights)


def prefix_merge(
    rows: Sequence[Row],
    weights: Mapping[str, float],
    *,
    aggregate: Aggregate,
    drafter: str,
    above: float,
    order: TokenOrder,
) -> Vote | None:
    """What `aggregate` gives, and to every token above a probability all that start with it.

    Only the drafter's tokens gain, and by what the others had before.  END gains nothing, though
    its bytes begin everything.  The authors' code sees only the ten likeliest tokens of each
    member, and lets the lone space gain nothing; here, as in the text, all count.
    """
    vote = aggregate(rows, weights)
    if vote is None or not vote.mean.is_complete:
        return None
    mean = vote.mean
    by_rank = np.zeros(order.rank.size)
    by_rank[order.rank[mean.ids]] = mean.low
    drafted = next((row.entries for row in rows if row.member == drafter), None)
    own = mean.low if drafted is None else looked_up(drafted, mean.ids)
    if own is None:
        return None
    values = mean.low.copy()
    for at in np.flatnonzero((mean.low > above) & (own > 0.0) & (mean.ids != END)):
        token = mean.ids[at]
        values[at] = by_rank[order.rank[token] : order.ends[token]].sum()
    return Vote(replace(mean, low=values, high=values), vote.rows, vote.weights)
