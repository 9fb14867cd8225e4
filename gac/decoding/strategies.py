"""From a strategy's configuration to its generator, and to what decides its tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gac.config import StrategyConfig
from gac.core import Sampling
from gac.decoding.decide import Decider
from gac.decoding.every_step import every_step
from gac.decoding.flow import Strategy
from gac.decoding.support import TokenOrder


@dataclass(frozen=True, slots=True)
class StrategyMaker:
    """Starts one strategy for sequence after sequence.

    Among fewer than two members, or without its gate or drafter, every strategy is every-step.
    """

    config: StrategyConfig

    def decider(
        self,
        members: tuple[str, ...],
        weights: Mapping[str, float],
        sampling: Sampling,
        order: TokenOrder,
        tokens: Sequence[bytes],
    ) -> Decider:
        """What decides the tokens of a sequence that these members write; `tokens`: the union."""
        decider = Decider(weights, sampling, order)
        if len(members) >= 2:
            decider = self.config.deciding(decider, members, tokens)
        return decider

    def __call__(self, members: tuple[str, ...], decide: Decider) -> Strategy:
        """The strategy of one sequence, not begun."""
        leader = self.config.leader
        if len(members) < 2 or (leader is not None and leader not in members):
            return every_step(members, decide)
        return self.config.start(members, decide)
