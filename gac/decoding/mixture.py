"""One member per token, drawn by weight: tokens are distributed as if rows had been averaged."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from gac.config.methods import StrategyConfig
from gac.core import Sampling
from gac.decoding.combine import ArithmeticConfig
from gac.decoding.decide import Decider
from gac.decoding.flow import Commit, Decide, Query, Rows, Strategy, together
from gac.decoding.sampling import gumbel_noise
from gac.trace import Why

_OTHER_SEED = 0x6D656D6265727321
"""Sets the draw of a member apart from the draw of its token, which has the request's seed."""
_DRAWN = partial(together, why=Why.DRAWN)


@dataclass(frozen=True, slots=True)
class MemberDraw:
    """Draws members by weight without replacement; a pure function of the position.

    By Gumbel-max: if some abstain, the next is drawn by weight among those that are left.
    """

    members: tuple[str, ...]
    weights: Mapping[str, float]
    sampling: Sampling

    def order(self, position: int) -> list[str]:
        """The members in the order in which they are drawn; those without weight come last."""
        hashes = [
            int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
            for name in self.members
        ]
        apart = replace(self.sampling, seed=self.sampling.seed ^ _OTHER_SEED)
        noise = gumbel_noise(apart, position, np.array(hashes, dtype=np.uint64))
        keys = {
            name: (weight > 0.0, float(noise[place]) + math.log(weight or 1.0))
            for place, name in enumerate(self.members)
            for weight in (self.weights[name],)
        }
        return sorted(self.members, key=keys.__getitem__, reverse=True)


def mixture(draw: MemberDraw, decide: Decide) -> Strategy:
    """Draw a member, ask it alone, sample from its row: P(x) = the sum of w_i p_i(x).

    If it abstains, another is drawn.  A member that was not asked for some tokens computes
    them when it is asked next.  Source: ME (arXiv 2605.00419): the same distribution as averaging
    and then sampling, at temperature 1 and without top-k, top-p or min-p.
    """
    for position in count():
        rows: Rows = ()
        for member in draw.order(position):
            rows = yield Query((member,))
            if rows:
                break
        yield Commit(rows, decide, _DRAWN)


class MixtureConfig(StrategyConfig):
    """Each token is sampled from the distribution of one member, which is drawn by weight.

    The tokens are distributed as if the weighted mean were sampled.  Needs temperature 1 and no
    `top_k`, `top_p` or `min_p`.
    """

    name: Literal["mixture"] = "mixture"
    aggregation: Annotated[
        ArithmeticConfig,
        Field(description="'arithmetic', the only aggregation that a mixture can equal"),
    ] = ArithmeticConfig()

    def refusal(self, sampling: Sampling) -> tuple[str, str] | None:
        plain = Sampling(temperature=1.0)
        for field in ("temperature", "top_k", "top_p", "min_p"):
            value, wanted = getattr(sampling, field), getattr(plain, field)
            if value != wanted:
                what = (
                    f"must be {wanted:g}, not {value:g}; otherwise a mixture differs from averaging"
                )
                return field, f"strategy 'mixture': {what}"
        return None

    def start(self, members: tuple[str, ...], decide: Decider) -> Strategy:
        return mixture(MemberDraw(members, decide.weights, decide.sampling), decide)
