"""Reads how members write together: strategies and aggregations, in YAML and in requests alike."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from gac.config.catalogue import Catalogue, Declared, aggregations, strategies
from gac.config.explain import attempt, join, show
from gac.config.methods import AggregationConfig, Method, StrategyConfig
from gac.config.sections import MemberConfig
from gac.errors import ConfigError

Members = Sequence[MemberConfig]

DEFAULT_THRESHOLD = 1.0
"""Of a file that only calls a member primary, and says no threshold: as in the original."""


def parse_strategy(
    value: object, members: Members, threshold: float | None = None, where: str = "strategy"
) -> StrategyConfig:
    """The strategy that a name, an object or None (the default) asks for, among these members.

    `threshold` is that of the file, if it has one: it stands in where a strategy has a parameter
    of that name and `value` gives none.  `where` is the key in errors.
    """
    if value is None:
        value = _by_priority(members, threshold)
    declared, given = _chosen(value, strategies(), where)
    fields = {**_filled(declared, members, None), **given}
    if threshold is not None and "threshold" in declared.model_fields:
        fields.setdefault("threshold", threshold)
    problems: list[str] = []
    wanted = fields.pop("aggregation", None) if "aggregation" in declared.model_fields else None
    if wanted is not None:
        leader, inner = fields.get(declared.leading_parameter()), join(where, "aggregation")
        aggregation = attempt(problems, aggregation_for, declared, wanted, members, leader, inner)
        fields |= {} if aggregation is None else {"aggregation": aggregation}
    strategy = attempt(problems, strategies().read, fields, where)
    if strategy is not None:
        attempt(problems, _check_members, strategy, members, where)
    if problems or strategy is None:
        raise ConfigError("\n".join(problems))
    if wrong := strategy.contradiction(len(members)):
        raise ConfigError(f"{join(where, wrong[0])}: {wrong[1]}")
    return strategy


def parse_aggregation(
    value: object, members: Members, gate: str | None, where: str = "aggregation"
) -> AggregationConfig:
    """The aggregation that a name, an object or None (the default) asks for.

    Unless it says otherwise, a member that it names is the one of the highest score but for the
    gate.
    """
    declared, given = _chosen("arithmetic" if value is None else value, aggregations(), where)
    aggregation = aggregations().read({**_filled(declared, members, gate), **given}, where)
    _check_members(aggregation, members, where)
    return aggregation


def aggregation_for(
    strategy: type[StrategyConfig],
    value: object,
    members: Members,
    gate: str | None,
    where: str = "aggregation",
) -> AggregationConfig:
    """The aggregation that is asked for, if the strategy takes such a one."""
    aggregation = parse_aggregation(value, members, gate, where)
    field = strategy.model_fields.get("aggregation")
    if field is None:
        name = show(strategy.model_fields["name"].default)
        raise ConfigError(f"{where}: the strategy {name} takes none")
    is_taken = isinstance(aggregation, cast(type, field.annotation))
    if not is_taken:
        found = show(aggregation.name)
        raise ConfigError(f"{where}: {found} is not allowed; must be {field.description}")
    return aggregation


def _by_priority(members: Members, threshold: float | None) -> dict[str, object]:
    """A primary member is a gate, as in the original."""
    if any(member.priority == "primary" for member in members):
        sure = DEFAULT_THRESHOLD if threshold is None else threshold
        return {"name": "threshold", "threshold": sure}
    return {"name": "every_step"}


def _chosen(
    value: object, known: Catalogue[Declared], where: str
) -> tuple[type[Declared], Mapping[Any, Any]]:
    """The declaration that a name or an object names, and the fields that are given."""
    if isinstance(value, str):
        return known.find(value, where), {"name": value}
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: {show(value)} is not allowed; must be a name or a mapping")
    return known.find(value.get("name"), join(where, "name")), value


def _filled(declared: type[Method], members: Members, gate: str | None) -> dict[Any, Any]:
    """The members in the roles that a method cannot be without."""
    return {
        key: _leader(members) if role.leads else _best(members, gate)
        for key, role in declared.member_parameters().items()
        if declared.model_fields[key].is_required()
    }


def _leader(members: Members) -> str:
    """The primary, else the member with the highest score; of equal ones `max` takes the first."""
    leader = max(members, key=lambda m: (m.priority == "primary", m.score), default=None)
    return leader.name if leader else ""


def _best(members: Members, gate: str | None) -> str:
    """The highest score but for the gate's."""
    others = [member for member in members if member.name != gate] or list(members)
    best = max(others, key=lambda member: member.score, default=None)
    return best.name if best else ""


def _check_members(method: Method, members: Members, where: str) -> None:
    """Whoever is named must be a member; where members have errors none is known."""
    names = [member.name for member in members]
    for key in method.member_parameters():
        name = getattr(method, key)
        if names and isinstance(name, str) and name not in names:
            allowed = " or ".join(map(show, names))
            raise ConfigError(f"{join(where, key)}: {show(name)} is not allowed; must be {allowed}")
