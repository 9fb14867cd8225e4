"""SAFE as it is configured: its parameters, and the generator they make."""

from functools import partial
from typing import Annotated, Literal

from pydantic import Field

from gac.config.fields import Probability
from gac.config.methods import LeadingMember
from gac.decoding.combine import Aggregate
from gac.decoding.consensus import geometric
from gac.decoding.decide import Decider
from gac.decoding.flow import Strategy
from gac.decoding.safe import Doubt, safe
from gac.decoding.sharpen import Sharpened, prefix_merge
from gac.decoding.support import TokenOrder
from gac.decoding.together import Together

_Draft = Annotated[int, Field(ge=1, le=64, description="a whole number from 1 to 64")]


class SafeConfig(Together):
    """The `drafter` writes a draft, the others verify it, all decide where they disagree (SAFE).

    A draft has up to `max_tokens` tokens, and fewer where drafts are often rejected.  A drafted
    token is accepted where the members' mean probability of their own tokens is above `consensus`,
    or the drafter's confidence is above `extra_gate`.  Where no token has a mean probability of 0.5
    or more, `sharpen` uses the geometric mean instead, or adds to each token above `merge_lambda`
    the probabilities of the tokens that start with it.
    """

    name: Literal["safe"] = "safe"
    drafter: LeadingMember
    max_tokens: _Draft = 8
    consensus: Probability = 0.5
    extra_gate: Probability = 1.0
    sharpen: Literal["none", "prefix_merge", "geometric"] = "none"
    merge_lambda: Probability = 0.1

    @property
    def is_normalised(self) -> bool:
        return super().is_normalised and self.sharpen == "none"

    def function(self, main: str | None, order: TokenOrder) -> Aggregate:
        """The aggregation where members agree on half of the mass; else what sharpens it."""
        aggregate = super().function(main, order)
        if self.sharpen == "none":
            return aggregate
        if self.sharpen == "geometric":
            return Sharpened(aggregate, geometric)
        merge = partial(
            prefix_merge,
            aggregate=aggregate,
            drafter=self.drafter,
            above=self.merge_lambda,
            order=order,
        )
        return Sharpened(aggregate, merge)

    def start(self, members: tuple[str, ...], decide: Decider) -> Strategy:
        verifiers = tuple(name for name in members if name != self.drafter)
        is_greedy = decide.sampling.temperature == 0.0
        doubt = Doubt(
            self.drafter,
            decide.weights,
            self.consensus,
            self.extra_gate,
            is_greedy,
            decide.order,
            len(decide.forced.tokens),
        )
        return safe(self.drafter, verifiers, self.max_tokens, doubt, decide)
