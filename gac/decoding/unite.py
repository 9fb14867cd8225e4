"""UniTE: the mean over the members' most probable tokens, and no others."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gac.config.fields import Count
from gac.config.methods import AggregationConfig
from gac.core import Entries, Row
from gac.decoding.combine import Aggregate, Mean, Vote, looked_up, share_out
from gac.decoding.support import TokenOrder


def unite(
    rows: Sequence[Row], weights: Mapping[str, float], order: TokenOrder, top_k: int
) -> Vote | None:
    """The weighted mean over the union of each member's `top_k` most probable tokens.

    Source: UniTE (arXiv 2410.03777) section 3.2.  Two differences: a token that a member's
    vocabulary lacks has probability 0 there (the paper uses the logit of its first piece), and
    probabilities are those of the full softmax (the paper applies one to the candidates alone).
    None where a row does not list its best tokens, or a candidate of another member.
    """
    best = [_best(row.entries, order, top_k) for row in rows]
    found = [ids for ids in best if ids is not None]
    if len(found) < len(rows):
        return None
    ids = np.unique(np.concatenate(found))
    shares, total = share_out(rows, weights), np.zeros(ids.size)
    for row in rows:
        probs = looked_up(row.entries, ids)
        if probs is None:
            return None
        total += shares[row.member] * probs
    return Vote(Mean(ids, total, total, 0.0, 0.0), rows, weights)


def _best(entries: Entries, order: TokenOrder, top_k: int) -> NDArray[np.int32] | None:
    """The ids of the most probable tokens, ties at the last place by bytes; None if unsure."""
    sure = np.flatnonzero(entries.probs > entries.bound)
    if sure.size < top_k and not entries.is_complete:
        return None
    ids, probs = entries.ids[sure], entries.probs[sure]
    if sure.size <= top_k:
        return ids
    near = np.flatnonzero(probs >= np.partition(probs, -top_k)[-top_k])
    return ids[near[np.lexsort((order.rank[ids[near]], -probs[near]))[:top_k]]]


class UniteConfig(AggregationConfig):
    """The weighted mean over the union of the members' `top_k` most likely tokens."""

    name: Literal["unite"] = "unite"
    top_k: Count = 10

    def function(self, main: str | None, order: TokenOrder) -> Aggregate:
        return partial(unite, order=order, top_k=self.top_k)
