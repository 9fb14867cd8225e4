"""Aggregations that seek consensus: the geometric mean, and the least probability.

Both increase with every member's probability and never exceed the arithmetic mean.  So from bounds
of the entries that are not listed follow bounds of the result.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np

from gac.config.methods import AggregationConfig
from gac.core import Row
from gac.decoding.combine import Aggregate, Floats, Mean, Vote, arithmetic, share_out

_SLACK = 1e-6
"""What the sum of a row's float32 probabilities may be off by."""
_ABOVE = 1.0 + 1e-12
"""Keeps a bound above what it bounds, however logarithms round."""

Joining = Callable[[Sequence[Floats], Sequence[float]], Floats]
"""The members' values of the same ids, [M] x [U], and their shares -> joint values [U]."""


def geometric(rows: Sequence[Row], weights: Mapping[str, float]) -> Vote:
    """The product of the members' probabilities, each to the power of its weight; not normalised.

    A token that one member gives probability 0 has value 0.  If all have, the arithmetic mean is
    used.
    Source: SAFE (arXiv 2510.15346) section 3.3, which uses it where the mean is smooth; "product"
    among the f-ensembles of arXiv 2603.05432.
    """
    return _joint(rows, weights, _product)


def minimum(rows: Sequence[Row], weights: Mapping[str, float]) -> Vote:
    """The least of the members' probabilities, whatever their weights; not normalised.

    If all are 0, the arithmetic mean is used.  Source: arXiv 2603.05432, "min".
    """
    return _joint(rows, weights, lambda values, shares: np.minimum.reduce(list(values)))


def _product(values: Sequence[Floats], shares: Sequence[float]) -> Floats:
    total = np.zeros(values[0].shape)
    with np.errstate(divide="ignore"):  # the logarithm of 0 is what it should be
        for value, share in zip(values, shares, strict=True):
            total += share * np.log(value)
    product: Floats = np.exp(total)
    return product


def _joint(rows: Sequence[Row], weights: Mapping[str, float], join: Joining) -> Vote:
    say = share_out(rows, weights)
    shares = [say[row.member] for row in rows]
    ids = np.unique(np.concatenate([row.entries.ids for row in rows]))
    lows, highs = [], []
    for row in rows:
        low, high = np.zeros(ids.size), np.full(ids.size, row.entries.bound)
        at = np.searchsorted(ids, row.entries.ids)
        low[at] = high[at] = row.entries.probs.astype(np.float64)
        lows.append(low)
        highs.append(high)
    low, high = join(lows, shares), join(highs, shares)
    unsure = np.logical_or.reduce([a != b for a, b in zip(lows, highs, strict=True)])
    unsure &= high > 0.0
    high = np.where(unsure, high * _ABOVE, low)
    bound, rest = _beyond(rows, shares, join)
    is_known = bound == 0.0 and not unsure.any()
    if is_known and not low.any():
        return arithmetic(rows, weights)
    return Vote(Mean(ids, low, low if is_known else high, bound, rest), rows, weights)


def _beyond(rows: Sequence[Row], shares: Sequence[float], join: Joining) -> tuple[float, float]:
    """The most that an id which no row lists may have, and that all of them may have together.

    The second is Hoelder's inequality for the product, and plain for the minimum.
    """
    if any(row.entries.is_complete for row in rows):
        return 0.0, 0.0
    bounds = [np.array([row.entries.bound]) for row in rows]
    rests = [np.array([row.entries.rest + _SLACK]) for row in rows]
    return float(join(bounds, shares)[0] * _ABOVE), float(join(rests, shares)[0])


class GeometricConfig(AggregationConfig):
    """The weighted geometric mean: 0 for a token to which any member gives 0."""

    name: Literal["geometric"] = "geometric"

    def function(self, main: str | None, order: object) -> Aggregate:
        return geometric


class MinConfig(AggregationConfig):
    """The smallest probability that any member of a weight above 0 gives."""

    name: Literal["min"] = "min"

    def function(self, main: str | None, order: object) -> Aggregate:
        return minimum
