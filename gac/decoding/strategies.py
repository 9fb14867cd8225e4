"""From a strategy's configuration to its generator, and to what decides its tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from gac.config import (
    AggregationConfig,
    ArithmeticConfig,
    CoreConfig,
    EntropyConfig,
    GeometricConfig,
    MinConfig,
    MixtureConfig,
    ReplaceConfig,
    SafeConfig,
    StrategyConfig,
    ThresholdConfig,
    UniteConfig,
)
from gac.core import Sampling
from gac.decoding.certainty import core, entropy
from gac.decoding.combine import Aggregate, arithmetic
from gac.decoding.conflict import ConflictGuard
from gac.decoding.consensus import geometric, minimum
from gac.decoding.decide import Decider
from gac.decoding.every_step import every_step
from gac.decoding.flow import Strategy
from gac.decoding.mixture import MemberDraw, mixture
from gac.decoding.replacement import replace
from gac.decoding.safe import Doubt, safe
from gac.decoding.sharpen import Sharpened, prefix_merge
from gac.decoding.support import TokenOrder
from gac.decoding.threshold import threshold_gate, threshold_replace
from gac.decoding.unite import unite


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
        config = self.config
        if isinstance(config, MixtureConfig) or len(members) < 2:
            return Decider(weights, sampling, order)
        anchor = leader_of(config)
        anchor = anchor if anchor in members else None
        guard = None
        if config.conflict_guard:
            named = config.conflict_guard if isinstance(config.conflict_guard, str) else anchor
            guard = ConflictGuard(named, tokens, order)
        aggregate = _aggregate(config.aggregation, anchor, order)
        if isinstance(config, SafeConfig):
            aggregate = _sharpened(config, aggregate, order)
        is_dense = isinstance(config.aggregation, CoreConfig | EntropyConfig)
        return Decider(weights, sampling, order, aggregate, is_dense, guard)

    def __call__(self, members: tuple[str, ...], decide: Decider) -> Strategy:
        """The strategy of one sequence, not begun."""
        config = self.config
        if len(members) >= 2:
            if isinstance(config, MixtureConfig):
                return mixture(MemberDraw(members, decide.weights, decide.sampling), decide)
            leader = leader_of(config)
            others = tuple(name for name in members if name != leader)
            if isinstance(config, SafeConfig) and leader in members:
                return _safe(config, others, decide)
            if isinstance(config, ThresholdConfig) and leader in members:
                gated = threshold_replace if config.below == "replace" else threshold_gate
                return gated(config.gate, others, config.threshold, decide)
        return every_step(members, decide)


def leader_of(config: StrategyConfig) -> str | None:
    """The member that a strategy asks first, if it has one."""
    if isinstance(config, ThresholdConfig):
        return config.gate
    return config.drafter if isinstance(config, SafeConfig) else None


def _safe(config: SafeConfig, verifiers: tuple[str, ...], decide: Decider) -> Strategy:
    doubt = Doubt(
        config.drafter,
        decide.weights,
        config.consensus,
        config.extra_gate,
        decide.sampling.temperature == 0.0,
        decide.order,
    )
    return safe(config.drafter, verifiers, config.max_tokens, doubt, decide)


def _sharpened(config: SafeConfig, aggregate: Aggregate, order: TokenOrder) -> Aggregate:
    """The aggregation where members agree on half of the mass; else what sharpens it."""
    if config.sharpen == "none":
        return aggregate
    if config.sharpen == "geometric":
        return Sharpened(aggregate, geometric)
    merge = partial(
        prefix_merge,
        aggregate=aggregate,
        drafter=config.drafter,
        above=config.merge_lambda,
        order=order,
    )
    return Sharpened(aggregate, merge)


def _aggregate(config: AggregationConfig, main: str | None, order: TokenOrder) -> Aggregate:
    """The function that a configured aggregation names."""
    match config:
        case ArithmeticConfig():
            return arithmetic
        case GeometricConfig():
            return geometric
        case MinConfig():
            return minimum
        case UniteConfig():
            return partial(unite, order=order, top_k=config.top_k)
        case CoreConfig():
            return partial(core, main=main)
        case EntropyConfig():
            return entropy
        case ReplaceConfig():
            return partial(replace, by=config.by)
