"""The ways to write that are compared, as data; one more method is one more line."""

from collections.abc import Sequence
from dataclasses import dataclass

from gac.config import EveryStepConfig, MemberConfig, StrategyConfig, parse_strategy
from gac.core import Sampling

THRESHOLD = 0.5


@dataclass(frozen=True)
class Method:
    """A strategy as it would stand in YAML; at temperature 1 if it is `sampled`, else greedy.

    "{last}" stands for the last member.  The gate and the drafter are the first.
    """

    name: str
    strategy: object
    sampled: bool = False


def _every_step(aggregation: object) -> dict[str, object]:
    return {"name": "every_step", "aggregation": aggregation}


METHODS = (
    Method("every step", "every_step"),
    Method("every step, guard", {"name": "every_step", "conflict_guard": True}),
    Method("geometric", _every_step("geometric")),
    Method("min", _every_step("min")),
    Method("UniTE", _every_step({"name": "unite", "top_k": 10})),
    Method("CoRE", _every_step("core")),
    Method("entropy", _every_step("entropy")),
    Method("replace by the last", _every_step({"name": "replace", "by": "{last}"})),
    Method("threshold 0.5", {"name": "threshold", "threshold": 0.5}),
    Method("threshold 0.5, replace", {"name": "threshold", "threshold": 0.5, "below": "replace"}),
    Method("SAFE", {"name": "safe"}),
    Method("SAFE, prefix merge", {"name": "safe", "sharpen": "prefix_merge"}),
    Method("SAFE, geometric", {"name": "safe", "sharpen": "geometric"}),
    Method("GaC + SAFE", {"name": "safe", "extra_gate": 0.5}),
    Method("UniTE + SAFE", {"name": "safe", "aggregation": {"name": "unite", "top_k": 10}}),
    Method("every step, sampled", "every_step", sampled=True),
    Method("mixture", "mixture", sampled=True),
)

ALONE = EveryStepConfig()
"""How a single member writes."""
SAMPLE = Sampling(temperature=0.7)
"""How its samples are drawn: at the temperature of self-consistency (Wang et al. 2022, 3.1)."""


def strategy_for(method: Method, names: Sequence[str]) -> StrategyConfig:
    """A method's strategy among these members."""
    members = [MemberConfig(path=name, name=name) for name in names]
    value = _filled(method.strategy, {"{last}": names[-1]})
    return parse_strategy(value, members, THRESHOLD)


def _filled(value: object, places: dict[str, str]) -> object:
    if isinstance(value, dict):
        return {key: _filled(part, places) for key, part in value.items()}
    return places.get(value, value) if isinstance(value, str) else value
