"""From a strategy's configuration to its generator."""

from collections.abc import Callable

from gac.config import EveryStepConfig, StrategyConfig
from gac.decoding.every_step import every_step
from gac.decoding.flow import Decide, Strategy
from gac.decoding.threshold import threshold_gate, threshold_replace


def strategy_maker(config: StrategyConfig) -> Callable[[tuple[str, ...], Decide], Strategy]:
    """A function that starts the configured strategy for one sequence.

    Among fewer than two members, or without its gate, every strategy is every-step.
    """

    def make(members: tuple[str, ...], decide: Decide) -> Strategy:
        if isinstance(config, EveryStepConfig) or config.gate not in members or len(members) < 2:
            return every_step(members, decide)
        others = tuple(name for name in members if name != config.gate)
        gated = threshold_replace if config.below == "replace" else threshold_gate
        return gated(config.gate, others, config.threshold, decide)

    return make
