"""What a request chooses of how its text is written: checked against the server, once.

Knows the configuration and what a client asked for; knows no HTTP and no sequences.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from gac.config import Config, MemberConfig, StrategyConfig, parse_strategy
from gac.config.catalogue import strategies
from gac.config.explain import show
from gac.config.parse_methods import aggregation_for
from gac.core import Sampling
from gac.decoding.every_step import EveryStepConfig
from gac.errors import ConfigError, RequestError

Named = str | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a client asked for; None where it leaves it to the server."""

    strategy: Named | None = None
    threshold: float | None = None
    weights: Mapping[str, float] | None = None
    aggregation: Named | None = None
    members: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """Who writes, how, and with which weights (none: the ensemble's own)."""

    members: tuple[str, ...]
    strategy: StrategyConfig
    weights: Mapping[str, float] | None = None

    @property
    def reference(self) -> str:
        """The member whose ids are meant wherever a client sends ids or is sent some."""
        return reference_member(self.members, self.strategy)


def reference_member(members: Sequence[str], strategy: StrategyConfig) -> str:
    """The strategy's gate or drafter if it is among these members, else the first of them."""
    leader = strategy.leader
    return leader if leader in members and leader is not None else members[0]


def choose(config: Config, wishes: Wishes, sampling: Sampling) -> Choice:
    """The members, strategy and weights of a request: what it asks for, else the configuration's.

    Raises: RequestError naming a field whose value is unknown, which requests may not choose here,
    or which contradicts another field.
    """
    for field in _chosen(wishes):
        if field not in config.requests.may_choose:
            raise RequestError(f"{field}: requests to this server may not choose it", param=field)
    members = _members(config.members, wishes.members)
    names = tuple(member.name for member in members)
    strategy = _strategy(config, wishes, members)
    _check_roles(strategy, names, wishes)
    weights = None if wishes.weights is None else _weights(wishes.weights, config.members, names)
    if len(names) > 1:
        _check_role_weights(strategy, weights)
    _check_sampling(strategy, sampling)
    return Choice(names, strategy, weights)


def _chosen(wishes: Wishes) -> list[str]:
    """The fields in which a client chose something, also within its strategy."""
    inside = wishes.strategy if isinstance(wishes.strategy, Mapping) else {}
    fields = ("strategy", "threshold", "weights", "aggregation", "members")
    return [field for field in fields if field in inside or getattr(wishes, field) is not None]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(show, names))


def _members(
    members: Sequence[MemberConfig], wanted: Sequence[str] | None
) -> tuple[MemberConfig, ...]:
    """The members that are to write, in the order of the configuration."""
    if wanted is None:
        return tuple(members)
    known = [member.name for member in members]
    if not wanted:
        raise RequestError(f"members: name at least one of {_listed(known)}", param="members")
    for place, name in enumerate(wanted):
        what = "is no member" if name not in known else "is listed twice"
        if name not in known or name in wanted[:place]:
            message = f"members[{place}]: {show(name)} {what}; the members are {_listed(known)}"
            raise RequestError(message, param="members")
    return tuple(member for member in members if member.name in wanted)


def _strategy(config: Config, wishes: Wishes, members: Sequence[MemberConfig]) -> StrategyConfig:
    """The server's strategy or the one asked for, with the parameters that stand beside it."""
    strategy = config.strategy
    try:
        if wishes.strategy is not None:
            _check_given_once(wishes)
            default = config.threshold if wishes.threshold is None else wishes.threshold
            strategy = parse_strategy(wishes.strategy, members, default)
            _check_allowed(config, strategy)
        elif len(members) == 1 and wishes.threshold is None and wishes.aggregation is None:
            return EveryStepConfig()
    except ConfigError as error:
        raise RequestError(error.message.partition("\n")[0], param="strategy") from error
    if wishes.threshold is not None:
        if "threshold" not in type(strategy).model_fields:
            declared = strategies().declared.items()
            have = _listed(name for name, each in declared if "threshold" in each.model_fields)
            what = f"strategy {show(strategy.name)} has no threshold; it is a parameter of {have}"
            raise RequestError(f"threshold: {what}", param="threshold")
        strategy = strategy.model_copy(update={"threshold": wishes.threshold})
    return _aggregated(strategy, wishes, members)


def _aggregated(
    strategy: StrategyConfig, wishes: Wishes, members: Sequence[MemberConfig]
) -> StrategyConfig:
    if wishes.aggregation is None:
        return strategy
    try:
        aggregation = aggregation_for(type(strategy), wishes.aggregation, members, strategy.leader)
    except ConfigError as error:
        raise RequestError(error.message.partition("\n")[0], param="aggregation") from error
    return strategy.model_copy(update={"aggregation": aggregation})


def _check_given_once(wishes: Wishes) -> None:
    """A parameter is given inside the strategy or beside it, not both."""
    inside = wishes.strategy if isinstance(wishes.strategy, Mapping) else {}
    for field in ("threshold", "aggregation"):
        if field in inside and getattr(wishes, field) is not None:
            raise RequestError(
                f"{field}: is given twice, here and in strategy; give it once", param=field
            )


def _check_allowed(config: Config, strategy: StrategyConfig) -> None:
    allowed = config.requests.strategies
    if strategy.name not in allowed:
        which = f"only {_listed(allowed)}" if allowed else "none"
        what = f"requests to this server may not choose {show(strategy.name)}, {which}"
        raise RequestError(f"strategy: {what}", param="strategy")


def _check_roles(strategy: StrategyConfig, names: Sequence[str], wishes: Wishes) -> None:
    """The members of the request must include those that the strategy names."""
    for role, name in strategy.roles.items():
        if name not in names:
            whose = "this server's strategy" if wishes.strategy is None else "the strategy"
            what = f"must include {show(name)}, the {role} of {whose}; or choose another strategy"
            raise RequestError(f"members: {what}", param="members")


def _check_role_weights(strategy: StrategyConfig, weights: Mapping[str, float] | None) -> None:
    """A member with a role, such as an anchor, needs a weight above 0; gate and drafter do not."""
    for role, name in strategy.roles.items():
        leads = role == strategy.leading_parameter()
        if not leads and weights is not None and weights[name] == 0.0:
            raise RequestError(
                f"weights: {show(name)} is the {role}, so its weight must be above 0",
                param="weights",
            )


def _weights(
    wanted: Mapping[str, float], members: Sequence[MemberConfig], names: Sequence[str]
) -> dict[str, float]:
    """Weights that sum to 1, for exactly the members that write."""
    known = [member.name for member in members]
    for name in wanted:
        if name not in known:
            message = f"weights: {show(name)} is no member; the members are {_listed(known)}"
            raise RequestError(message, param="weights")
        if name not in names:
            message = f"weights: {show(name)} is not among the members of this request"
            raise RequestError(message, param="weights")
    lacking = [name for name in names if name not in wanted]
    if lacking:
        message = (
            f"weights: no weight for {_listed(lacking)}; a member with weight 0 does not count"
        )
        raise RequestError(message, param="weights")
    # Fractions: huge weights cannot overflow, and each is rounded only once.
    total = sum(Fraction(wanted[name]) for name in names)
    if not total:
        raise RequestError("weights: all are 0; at least one must be above 0", param="weights")
    return {name: float(Fraction(wanted[name]) / total) for name in names}


def _check_sampling(strategy: StrategyConfig, sampling: Sampling) -> None:
    """Refuses sampling under which the strategy would not be what it promises."""
    if refused := strategy.refusal(sampling):
        field, why = refused
        raise RequestError(f"{field}: {why}", param=field)
