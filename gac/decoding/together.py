"""What all strategies share that decide tokens from the rows of several members."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from gac.config.methods import AnyAggregation, Role, StrategyConfig
from gac.core import Sampling
from gac.decoding.combine import Aggregate, ArithmeticConfig
from gac.decoding.conflict import ConflictGuard
from gac.decoding.decide import Decider
from gac.decoding.support import TokenOrder

_GUARD = Field(description="true, false or the name of a member")


class Together(StrategyConfig):
    """A strategy with an aggregation, and perhaps a guard.

    With a `conflict_guard`, where the ensemble's token and the anchor's own are prefixes of one
    another the anchor's is kept; `true`: the gate or drafter, or else the highest weight.
    """

    aggregation: AnyAggregation = ArithmeticConfig()
    conflict_guard: Annotated[bool | str, _GUARD, Role()] = False

    @property
    def roles(self) -> dict[str, str]:
        inner = {f"aggregation's {key}": name for key, name in self.aggregation.roles.items()}
        return super().roles | inner

    def refusal(self, sampling: Sampling) -> tuple[str, str] | None:
        if self.conflict_guard and sampling.temperature != 0.0:
            return (
                "temperature",
                "must be 0 with a conflict_guard, which is for greedy decoding only",
            )
        return None

    def deciding(
        self, plain: Decider, members: tuple[str, ...], tokens: Sequence[bytes]
    ) -> Decider:
        main, guard = self.leader if self.leader in members else None, None
        if self.conflict_guard:
            named = self.conflict_guard if isinstance(self.conflict_guard, str) else main
            guard = ConflictGuard(named, tokens, plain.order)
        aggregate = self.function(main, plain.order)
        return replace(
            plain,
            aggregate=aggregate,
            is_dense=self.aggregation.is_dense,
            is_normalised=self.is_normalised,
            guard=guard,
        )

    @property
    def is_normalised(self) -> bool:
        """Whether what several rows become sums to 1 as they do."""
        return self.aggregation.is_normalised

    def function(self, main: str | None, order: TokenOrder) -> Aggregate:
        """How several rows become one."""
        aggregate: Aggregate = self.aggregation.function(main, order)
        return aggregate
