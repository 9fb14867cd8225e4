"""Reads how members write together: strategies and aggregations, in YAML and in requests alike."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from gac.config.explain import attempt, join, read_section, show
from gac.config.methods import (
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
    Together,
    UniteConfig,
)
from gac.config.sections import MemberConfig
from gac.errors import ConfigError

Members = Sequence[MemberConfig]
Fields = Mapping[Any, Any]
Joint = TypeVar("Joint", bound=Together)


STRATEGIES = ("every_step", "threshold", "safe", "mixture")
AGGREGATIONS: dict[str, type[AggregationConfig]] = {
    "arithmetic": ArithmeticConfig,
    "geometric": GeometricConfig,
    "min": MinConfig,
    "unite": UniteConfig,
    "core": CoreConfig,
    "entropy": EntropyConfig,
    "replace": ReplaceConfig,
}


def parse_strategy(
    value: object, members: Members, threshold: float, where: str = "strategy"
) -> StrategyConfig:
    """The strategy that a name, an object or None (the default) asks for, among these members.

    `threshold` stands in where a strategy needs one and names none; `where` is the key in errors.
    """
    if value is None:
        has_gate = any(member.priority == "primary" for member in members)
        value = "threshold" if has_gate else "every_step"
    match fields := _named(value, STRATEGIES, where):
        case {"name": "threshold"}:
            return _read_threshold(fields, members, threshold, where)
        case {"name": "safe"}:
            return _read_safe(fields, members, where)
        case {"name": "mixture"}:
            return _read_mixture(fields, where)
        case _:
            return _read_together(EveryStepConfig, fields, members, None, where)


def parse_aggregation(
    value: object, members: Members, gate: str | None, where: str = "aggregation"
) -> AggregationConfig:
    """The aggregation that a name, an object or None (the default) asks for.

    Unless it says otherwise, the member of the highest score but for the gate is the one to
    replace it.
    """
    if value is None:
        return ArithmeticConfig()
    fields = _named(value, AGGREGATIONS, where)
    if fields["name"] == "replace":
        others = [member for member in members if member.name != gate] or list(members)
        best = max(others, key=lambda member: member.score, default=None)
        replacing = read_section(ReplaceConfig, {"by": best.name if best else "", **fields}, where)
        _check_member(replacing.by, members, join(where, "by"))
        return replacing
    return read_section(AGGREGATIONS[fields["name"]], fields, where)


def _named(value: object, known: Iterable[str], where: str) -> Fields:
    """The fields of a method, one of which is its name; raises ConfigError if it is not known."""
    fields = {"name": value} if isinstance(value, str) else value
    if not isinstance(fields, dict):
        raise ConfigError(f"{where}: {show(value)} is not allowed; must be a name or a mapping")
    name = fields.get("name")
    if not (isinstance(name, str) and name in known):
        key = where if isinstance(value, str) else join(where, "name")
        raise ConfigError(f"{key}: {show(name)} is not allowed; must be {_either(known)}")
    return fields


def _either(names: Iterable[str]) -> str:
    shown = [show(name) for name in names]
    return " or ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _check_member(name: str, members: Members, where: str) -> None:
    names = [member.name for member in members]
    if names and name not in names:
        allowed = " or ".join(map(show, names))
        raise ConfigError(f"{where}: {show(name)} is not allowed; must be {allowed}")


def _read_together(
    model: type[Joint], fields: Fields, members: Members, gate: str | None, where: str
) -> Joint:
    """A strategy, and how it makes one row of several; all that is wrong at once."""
    problems: list[str] = []
    rest = {key: value for key, value in fields.items() if key != "aggregation"}
    inner = join(where, "aggregation")
    aggregation = attempt(
        problems, parse_aggregation, fields.get("aggregation"), members, gate, inner
    )
    strategy = attempt(problems, read_section, model, rest, where)
    if strategy and isinstance(strategy.conflict_guard, str):
        key = join(where, "conflict_guard")
        attempt(problems, _check_member, strategy.conflict_guard, members, key)
    if problems or strategy is None:
        raise ConfigError("\n".join(problems))
    return strategy.model_copy(update={"aggregation": aggregation})


def _read_threshold(
    fields: Fields, members: Members, threshold: float, where: str
) -> ThresholdConfig:
    """Fills in the gate and the threshold, and checks that the gate is one of the members."""
    filled = {"gate": _leader(members), "threshold": threshold, **fields}
    strategy = _read_together(ThresholdConfig, filled, members, filled["gate"], where)
    _check_member(strategy.gate, members, join(where, "gate"))
    if len(members) == 1 and strategy.below == "replace":
        raise ConfigError(f"{where}.below: 'replace' needs a second member, to replace the gate")
    return strategy


def _read_safe(fields: Fields, members: Members, where: str) -> SafeConfig:
    """Fills in the drafter, and checks that it is one of the members."""
    filled = {"drafter": _leader(members), **fields}
    strategy = _read_together(SafeConfig, filled, members, filled["drafter"], where)
    _check_member(strategy.drafter, members, join(where, "drafter"))
    return strategy


def _leader(members: Members) -> str:
    """The primary, else the member with the highest score; of equal ones `max` takes the first."""
    leader = max(members, key=lambda m: (m.priority == "primary", m.score), default=None)
    return leader.name if leader else ""


def _read_mixture(fields: Fields, where: str) -> MixtureConfig:
    value = fields.get("aggregation", "arithmetic")
    if value not in ("arithmetic", {"name": "arithmetic"}):
        what = f"{show(value)} is not allowed; must be 'arithmetic', which is all a mixture equals"
        raise ConfigError(f"{join(where, 'aggregation')}: {what}")
    rest = {key: field for key, field in fields.items() if key != "aggregation"}
    return read_section(MixtureConfig, rest, where)
