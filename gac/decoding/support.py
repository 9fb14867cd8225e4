"""The tokens that temperature, top-k, top-p and min-p leave to be drawn from.

Each of the three cuts keeps the n most probable tokens, with an n of its own.  So the support is
known as soon as the smallest n is, and the values of those tokens.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gac.core import Sampling
from gac.decoding.combine import Floats, Mean

Places = NDArray[np.intp]
Hashes = NDArray[np.uint64]
Count = tuple[float, float]
"""The least and the most a number of tokens may be."""

_SLACK = 1e-6
"""What sums of float32 probabilities may be off by."""


@dataclass(frozen=True, slots=True)
class TokenOrder:
    """What sampling knows of the union vocabulary.

    `rank` int32 [V]: place of each token when sorted by bytes; `hashes` uint64 [V]: of its bytes;
    `ends` int32 [V]: the place behind the last token that starts with it, where that is wanted.
    """

    rank: NDArray[np.int32]
    hashes: Hashes
    ends: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, dtype=np.int32))


@dataclass(frozen=True, slots=True)
class _TopTokens:
    """The most probable tokens, all those above `floor`, with logits relative to the largest.

    `others` is the most that exp(logit) of all other tokens may add up to.
    """

    ids: NDArray[np.int32]
    logits: Floats
    floor: float
    others: float

    @property
    def is_complete(self) -> bool:
        return self.floor == -math.inf


def has_cut(sampling: Sampling) -> bool:
    """Whether sampling leaves tokens out by their probability."""
    return sampling.top_k > 0 or sampling.top_p < 1.0 or sampling.min_p > 0.0


def support_of(
    mean: Mean, sampling: Sampling, order: TokenOrder
) -> tuple[NDArray[np.int32], Floats] | None:
    """The ids that may be drawn and their unnormalised logits; None if entries leave it open."""
    known = _top_tokens(mean, max(sampling.temperature, 1e-300))  # smaller ones overflow
    if known is None:
        return None
    size = known.ids.size
    if not has_cut(sampling):
        return (known.ids, known.logits) if known.is_complete else None
    num_sorted = min(size, max(256, sampling.top_k))
    while True:
        best = _descending(known, order, num_sorted)
        least, most = _num_kept(known, known.logits[best], sampling)
        if most <= best.size or best.size == size:
            break
        num_sorted = min(size, 8 * num_sorted)
    if least >= size and known.is_complete:
        return known.ids, known.logits
    if least != most or most > size:
        return None
    kept = best[: int(most)]
    return known.ids[kept], known.logits[kept]


def _top_tokens(mean: Mean, temperature: float) -> _TopTokens | None:
    if mean.is_complete:
        at = np.flatnonzero(mean.low > 0.0)
        logits = np.log(mean.low[at]) / temperature
        return _TopTokens(mean.ids[at], logits - logits.max(), -math.inf, 0.0)
    exact = mean.low == mean.high
    limit = max(mean.bound, float(mean.high[~exact].max(initial=0.0)))
    at = np.flatnonzero(exact & (mean.low > limit))
    if not at.size:
        return None
    logits = np.log(mean.low[at]) / temperature
    top = float(logits.max())
    listed = mean.high[~(exact & (mean.low > limit)) & (mean.high > 0.0)]
    others = float(np.exp(np.log(listed) / temperature - top).sum())
    if mean.bound == 0.0:
        pass  # what no row lists has no probability
    elif temperature > 1.0:
        others = math.inf  # many tiny probabilities grow without a bound we know
    else:  # a sum of p ** (1 / T), each p at most the bound
        power = math.log(mean.bound) * (1.0 / temperature - 1.0)
        others += math.exp(min(math.log(mean.rest + _SLACK) + power - top, 700.0))
    return _TopTokens(mean.ids[at], logits - top, math.log(limit) / temperature - top, others)


def _num_kept(known: _TopTokens, best: Floats, sampling: Sampling) -> Count:
    """How many tokens all cuts together keep; `best` are the largest logits, descending."""
    kept: list[Count] = [(math.inf, math.inf)]
    if sampling.top_k:
        kept.append((sampling.top_k, sampling.top_k))
    if sampling.top_p < 1.0:
        kept.append(_top_p(known, best, sampling))
    if sampling.min_p > 0.0:
        kept.append(_min_p(known, sampling.min_p))
    return min(least for least, _ in kept), min(most for _, most in kept)


def _top_p(known: _TopTokens, best: Floats, sampling: Sampling) -> Count:
    """The fewest most probable tokens whose share of the mass reaches p, after top-k."""
    masses = np.exp(best)
    if 0 < sampling.top_k <= best.size:
        least_mass = most_mass = float(masses[: sampling.top_k].sum())
    else:
        least_mass = float(np.exp(known.logits).sum())
        most_mass = least_mass + known.others
    if not known.is_complete:
        least_mass, most_mass = least_mass * (1.0 - _SLACK), most_mass * (1.0 + _SLACK)
    sums = np.cumsum(masses)
    least = float(np.searchsorted(sums, sampling.top_p * least_mass)) + 1
    most = float(np.searchsorted(sums, sampling.top_p * most_mass)) + 1
    return least, math.inf if most > best.size else most


def _min_p(known: _TopTokens, p: float) -> Count:
    """The tokens at least p times as probable as the most probable one."""
    cut = math.log(p)
    count = float(np.count_nonzero(known.logits >= cut))
    return (count, count) if cut > known.floor else (count, math.inf)


def _descending(known: _TopTokens, order: TokenOrder, at_least: int) -> Places:
    """Places of the most probable tokens, `at_least` of them, best first, ties by bytes."""
    logits = known.logits
    smallest = np.partition(logits, -at_least)[-at_least]
    places = np.flatnonzero(logits >= smallest)
    return places[np.lexsort((order.rank[known.ids[places]], -logits[places]))]
