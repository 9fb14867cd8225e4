"""Sharper distributions where the ensemble is unsure: mass is spread over parts of a word."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gac.core import END, Row
from gac.decoding.combine import Aggregate, Vote, combine, looked_up
from gac.decoding.support import TokenOrder

SMOOTH_BELOW = 0.5


@dataclass(frozen=True, slots=True)
class Sharpened:
    """An aggregation that is replaced by `sharper` where no token has a mean probability of 0.5.

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
    """The result of `aggregate`, with the probability of tokens added to that of their prefixes.

    Only tokens of a value above `above` that the drafter gives a probability gain, by the values
    before any gain.  END, whose empty byte string is a prefix of all, gains nothing.  The authors'
    code uses the ten most probable tokens of each member and excludes the single space; here, as in
    the paper, all tokens count.
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
