"""A strategy and an aggregation for GaC server."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import count
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from gac.config.fields import Count
from gac.config.methods import AggregationConfig, StrategyConfig
from gac.core import Row
from gac.decoding.combine import Aggregate, Mean, Vote, share_out
from gac.decoding.decide import Decider
from gac.decoding.flow import Commit, Query, Rows, Strategy


class TurnsConfig(StrategyConfig):
    """The members take turns: each writes `length` tokens by itself."""

    name: Literal["turns"] = "turns"
    length: Count = 1

    def start(self, members: tuple[str, ...], decide: Decider) -> Strategy:
        return turns(sorted(members), self.length, decide)


def turns(members: Sequence[str], length: int, decide: Decider) -> Strategy:
    """Ask one member and commit its token, again and again; if it abstains, ask the next."""
    for position in count():
        first = position // length % len(members)
        rows: Rows = ()
        for member in [*members[first:], *members[:first]]:
            rows = yield Query((member,))
            if rows:
                break
        yield Commit(rows, decide)


class PowerConfig(AggregationConfig):
    """The weighted power mean: a large `exponent` favours what one member is sure of."""

    name: Literal["power"] = "power"
    exponent: Annotated[float, Field(gt=0, description="a number above 0")] = 2.0
    is_dense = True

    def function(self, main: str | None, order: object) -> Aggregate:
        return partial(power, exponent=self.exponent)


def power(rows: Sequence[Row], weights: Mapping[str, float], exponent: float) -> Vote | None:
    """The `exponent`-th root of the sum of w_i p_i ** exponent."""
    if not all(row.entries.is_complete for row in rows):
        return None
    shares = share_out(rows, weights)
    ids = np.unique(np.concatenate([row.entries.ids for row in rows]))
    total = np.zeros(ids.size)
    for row in rows:
        at = np.searchsorted(ids, row.entries.ids)
        total[at] += shares[row.member] * row.entries.probs.astype(np.float64) ** exponent
    mean = total ** (1 / exponent)
    return Vote(Mean(ids, mean, mean, 0.0, 0.0), rows, weights)
