"""Aggregations whose weights follow from the rows themselves: entropy weights, and CoRE's.

Both need all entries.  Sums over the vocabulary are rounded to float32, so that the order in which
they were added cannot break a tie.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gac.config.methods import AggregationConfig
from gac.core import Row
from gac.decoding.combine import Aggregate, Floats, Mean, Vote, arithmetic, share_out
from gac.decoding.conflict import leader

SUREST = 1e-6
"""Added to every entropy, in nats: float32 rows do not tell smaller ones apart.

A member whose entropy is 0 so weighs a million times as much as one of 1 nat and decides almost
alone; several such share the say by their configured weights.
"""
BETA = 2.0
IMPOSSIBLE = 1e-12


def entropy(rows: Sequence[Row], weights: Mapping[str, float]) -> Vote | None:
    """The mean, each row weighted by its configured weight over its entropy H.

    Source: entropy weights as in ToT and CoRE (arXiv 2510.13855), w_i proportional to 1 / H(p_i).
    """
    if not all(row.entries.is_complete for row in rows):
        return None
    shares = share_out(rows, weights)
    sure = {row.member: shares[row.member] / (_entropy(row.entries.probs) + SUREST) for row in rows}
    return arithmetic(rows, sure)


def core(rows: Sequence[Row], weights: Mapping[str, float], main: str | None = None) -> Vote | None:
    """Consistency weights: p = m_0 p_0 + the sum of m_i s_i p_i over all but the main member 0.

    With p* the plain mean of all rows, a token's score s_i is high where p_i is near p*, a member's
    m_i is the sum of its s_i over H(p_i), times its configured weight, and m_0 is at least the sum
    of the others.  Without a `main` member that gave a row it is the one of the highest weight.
    Source: CoRE (arXiv 2510.13855) section 4 with RBF scores, beta 2, as in the authors' code for
    free text; which however cuts each row to its best 10 tokens first, and sees ours as equals.
    """
    if not all(row.entries.is_complete for row in rows):
        return None
    shares = share_out(rows, weights)
    first = leader(rows, weights, main) or leader(rows, weights, None)
    ids, probs = _aligned(rows)
    scores: dict[str, float] = {}
    scored: dict[str, Floats] = {}
    centre = sum(probs.values(), np.zeros(ids.size)) / len(rows)
    assert first is not None
    for row in rows:
        name, own = row.member, probs[row.member]
        token_scores = _token_scores(np.abs(own - centre))
        token_scores[own + probs[first] <= IMPOSSIBLE] = 0.0
        total = _rounded(token_scores.sum())
        scores[name] = shares[name] * total / (_entropy(row.entries.probs) + SUREST)
        scored[name] = own * token_scores * (np.count_nonzero(token_scores) / total)
    scored[first] = probs[first]
    scores[first] = max(scores[first], math.fsum(scores.values()) - scores[first])
    say, mixed = share_out(rows, scores), np.zeros(ids.size)
    for row in rows:
        mixed += say[row.member] * scored[row.member]
    return Vote(Mean(ids, mixed, mixed, 0.0, 0.0), rows, scores)


def _token_scores(distance: Floats) -> Floats:
    """From 1 where a member agrees with the mean down to 0 at a distance of 1."""
    least = math.exp(-BETA)
    scores: Floats = (np.exp(-BETA * distance) - least) / (1.0 - least)
    return scores


def _entropy(probs: NDArray[np.float32]) -> float:
    """Of a distribution, in nats."""
    positive = probs[probs > 0.0].astype(np.float64)
    return max(0.0, _rounded(-(positive * np.log(positive)).sum()))


def _rounded(value: float) -> float:
    return float(np.float32(value))


def _aligned(rows: Sequence[Row]) -> tuple[NDArray[np.int32], dict[str, Floats]]:
    """All ids that complete rows list, and every row's probabilities of them."""
    ids = np.unique(np.concatenate([row.entries.ids for row in rows]))
    probs = {row.member: np.zeros(ids.size) for row in rows}
    for row in rows:
        at = np.searchsorted(ids, row.entries.ids)
        probs[row.member][at] = row.entries.probs.astype(np.float64)
    return ids, probs


class CoreConfig(AggregationConfig):
    """The weighted mean, with weights by how close members and tokens are to the mean (CoRE).

    The gate or drafter, else the member of the highest weight, has at least half of the weight.
    """

    name: Literal["core"] = "core"
    is_dense = True

    def function(self, main: str | None, order: object) -> Aggregate:
        return partial(core, main=main)


class EntropyConfig(AggregationConfig):
    """The weighted mean, with weights divided by the entropy of each member's distribution."""

    name: Literal["entropy"] = "entropy"
    is_dense = True
    is_normalised = True

    def function(self, main: str | None, order: object) -> Aggregate:
        return entropy
