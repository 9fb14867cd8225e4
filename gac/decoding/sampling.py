"""One token from the combined distribution: greedy, or one seeded draw.

The draw is by Gumbel-max with noise that is a pure function of (seed, choice, position, bytes of
the token), so that a seeded request gets the same noise alone, in a busy batch and after a restart.
Ties go by token bytes, END first, never by union id.
"""

import numpy as np
from numpy.typing import NDArray

from gac.core import Sampling
from gac.decoding.combine import Floats, Mean
from gac.decoding.support import Hashes, TokenOrder, has_cut, support_of

_MASK = (1 << 64) - 1
_BELOW_ONE = 1.0 - 2.0**-53
"""The largest float64 below 1: the largest draw would be rounded to 1, its noise infinite."""


def pick_token(mean: Mean, sampling: Sampling, position: int, order: TokenOrder) -> int | None:
    """The union id picked from a distribution, or None where its entries leave it open.

    If it is not None, it is what would be picked from all entries.
    """
    if sampling.temperature == 0.0:
        return _most_probable(mean, order)
    support = support_of(mean, sampling, order)
    if support is None:
        return None
    ids, logits = support
    scores = logits + gumbel_noise(sampling, position, order.hashes[ids])
    return _first_largest(ids, scores, order)


def needs_all_entries(sampling: Sampling) -> bool:
    """Whether such a pick can only be made from all entries of a distribution."""
    return sampling.temperature != 0.0 and not has_cut(sampling)


def _most_probable(mean: Mean, order: TokenOrder) -> int | None:
    """The winner, if its lower bound is above what any other id may have; exact ties by bytes."""
    best = mean.low.max()
    at = np.flatnonzero(mean.high >= best)
    if mean.bound >= best:
        return None
    if at.size == 1:
        return int(mean.ids[at[0]])
    if (mean.high[at] != mean.low[at]).any():
        return None
    ids = mean.ids[at]
    return int(ids[np.argmin(order.rank[ids])])


def gumbel_noise(sampling: Sampling, position: int, hashes: Hashes) -> Floats:
    """Standard Gumbel noise for tokens with these hashes, float64 of the same shape; finite."""
    key = _mix_int(sampling.seed & _MASK)
    key = _mix_int(key ^ sampling.choice)
    key = _mix_int(key ^ position)
    bits = _mix(hashes ^ np.uint64(key))
    uniform = ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    noise: Floats = -np.log(-np.log(np.minimum(uniform, _BELOW_ONE)))
    return noise


def _first_largest(ids: NDArray[np.int32], scores: Floats, order: TokenOrder) -> int:
    best = ids[np.flatnonzero(scores == scores.max())]
    return int(best[np.argmin(order.rank[best])])


def _mix(bits: Hashes) -> Hashes:
    """SplitMix64's finaliser: every input bit moves every output bit (Steele et al. 2014)."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Hashes = bits ^ (bits >> np.uint64(31))
    return mixed


def _mix_int(value: int) -> int:
    seeded = np.array([(value + 0x9E3779B97F4A7C15) & _MASK], dtype=np.uint64)
    return int(_mix(seeded)[0])
