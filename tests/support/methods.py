"""Every strategy and aggregation of gac's own, by name: its reference, and what the fuzz draws.

One more has a row in each table; `tests/test_declarations.py` names the one that is missing.
"""

from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import strategies as st

from gac.config import (
    AggregationConfig,
    ArithmeticConfig,
    CoreConfig,
    EntropyConfig,
    EveryStepConfig,
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
from gac.decoding.mixture import MemberDraw
from tests.support import reference
from tests.support import reference_aggregations as aggregations
from tests.support.reference import Aggregate, Member
from tests.support.reference_safe import Safe

Reference = Callable[..., tuple[list[bytes], bool]]
"""Configuration, members, weights, and what `reference.generate` takes -> tokens, ended."""

REFERENCE_AGGREGATIONS: dict[str, Callable[[Any, str | None], Aggregate]] = {
    "arithmetic": lambda config, main: reference.arithmetic,
    "geometric": lambda config, main: aggregations.geometric,
    "min": lambda config, main: aggregations.minimum,
    "unite": lambda config, main: aggregations.unite(config.top_k),
    "core": lambda config, main: aggregations.core(main),
    "entropy": lambda config, main: aggregations.entropy,
    "replace": lambda config, main: aggregations.replace(config.by),
}


def _every_step(config: Any, members: Any, weights: Any, **rest: Any) -> tuple[list[bytes], bool]:
    return reference.generate(members, weights, guard=config.conflict_guard, **rest)


def _threshold(config: Any, members: Any, weights: Any, **rest: Any) -> tuple[list[bytes], bool]:
    return reference.generate(
        members,
        weights,
        gate=config.gate,
        threshold=config.threshold,
        below=config.below,
        guard=config.gate if config.conflict_guard is True else config.conflict_guard,
        **rest,
    )


def _safe(config: Any, members: Any, weights: Any, **rest: Any) -> tuple[list[bytes], bool]:
    tokens, _, ended = Safe(config, members, weights, **rest).generate()
    return tokens, ended


def _mixture(
    config: Any, members: Any, weights: Any, *, sampling: Sampling, **rest: Any
) -> tuple[list[bytes], bool]:
    draw = MemberDraw(tuple(members), weights, sampling).order
    return reference.generate(members, weights, sampling=sampling, draw=draw, **rest)


REFERENCE_STRATEGIES: dict[str, Reference] = {
    "every_step": _every_step,
    "threshold": _threshold,
    "safe": _safe,
    "mixture": _mixture,
}


def aggregate_of(strategy: StrategyConfig) -> Aggregate:
    """The reference of a strategy's aggregation."""
    aggregation = strategy.aggregation
    return REFERENCE_AGGREGATIONS[aggregation.name](aggregation, strategy.leader)


def written_by(
    strategy: StrategyConfig,
    members: Mapping[str, Member],
    weights: Mapping[str, float],
    **rest: Any,
) -> tuple[list[bytes], bool]:
    """What the reference writes; one member alone is asked at every step."""
    strategy = strategy if len(members) > 1 else EveryStepConfig()
    write = REFERENCE_STRATEGIES[strategy.name]
    return write(strategy, members, weights, aggregate=aggregate_of(strategy), **rest)


FUZZED_AGGREGATIONS: dict[str, list[AggregationConfig]] = {
    "arithmetic": [ArithmeticConfig()],
    "geometric": [GeometricConfig()],
    "min": [MinConfig()],
    "unite": [UniteConfig(), UniteConfig(top_k=2), UniteConfig(top_k=1)],
    "core": [CoreConfig()],
    "entropy": [EntropyConfig()],
    "replace": [ReplaceConfig(by="m1")],
}
AGGREGATIONS = [config for configs in FUZZED_AGGREGATIONS.values() for config in configs]

FUZZED_STRATEGIES: dict[str, st.SearchStrategy[StrategyConfig]] = {
    "every_step": st.just(EveryStepConfig()),
    "threshold": st.builds(
        ThresholdConfig,
        name=st.just("threshold"),
        gate=st.just("m0"),
        threshold=st.sampled_from([0.0, 0.1, 0.3, 0.6, 1.0]),
        below=st.sampled_from(["ensemble", "replace"]),
    ),
    "safe": st.builds(
        SafeConfig,
        drafter=st.just("m0"),
        max_tokens=st.sampled_from([1, 2, 5, 8]),
        consensus=st.sampled_from([0.0, 0.2, 0.5, 0.5, 1.0]),
        extra_gate=st.sampled_from([1.0, 1.0, 0.4]),
        sharpen=st.sampled_from(["none", "prefix_merge", "prefix_merge", "geometric"]),
        merge_lambda=st.sampled_from([0.0, 0.02, 0.1]),
    ),
    "mixture": st.just(MixtureConfig()),
}
STRATEGIES = st.one_of(*FUZZED_STRATEGIES.values())


def joined(
    strategy: StrategyConfig, aggregation: AggregationConfig, guard: bool | str, greedy: bool
) -> StrategyConfig:
    """A strategy with what it takes of an aggregation and a guard."""
    if isinstance(strategy, MixtureConfig):
        return strategy
    update = {"aggregation": aggregation, "conflict_guard": guard if greedy else False}
    return strategy.model_copy(update=update)
