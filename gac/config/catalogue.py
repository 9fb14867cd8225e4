"""The strategies and aggregations that there are: gac's own, and those of installed packages.

Each is named by its place, as text, and loaded when a configuration is first read.  So this floor
imports nothing that lies above it, and gac's own are found as those of other packages are, which
declare theirs as entry points of the groups `gac.strategies` and `gac.aggregations`.
"""

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, reduce
from importlib.metadata import EntryPoint, entry_points
from operator import or_
from typing import Annotated, Any, Generic, TypeVar, get_args

from pydantic import Field, TypeAdapter, ValidationError

from gac.config.explain import either, read_section, show
from gac.config.methods import AggregationConfig, Method, StrategyConfig
from gac.errors import ConfigError

STRATEGIES = {
    "every_step": "gac.decoding.every_step:EveryStepConfig",
    "threshold": "gac.decoding.threshold:ThresholdConfig",
    "safe": "gac.decoding.safe_strategy:SafeConfig",
    "mixture": "gac.decoding.mixture:MixtureConfig",
}
AGGREGATIONS = {
    "arithmetic": "gac.decoding.combine:ArithmeticConfig",
    "geometric": "gac.decoding.consensus:GeometricConfig",
    "min": "gac.decoding.consensus:MinConfig",
    "unite": "gac.decoding.unite:UniteConfig",
    "core": "gac.decoding.certainty:CoreConfig",
    "entropy": "gac.decoding.certainty:EntropyConfig",
    "replace": "gac.decoding.replacement:ReplaceConfig",
}

Declared = TypeVar("Declared", bound=Method)


@dataclass(frozen=True)
class Catalogue(Generic[Declared]):
    """The declarations of one kind, by name: gac's own first."""

    declared: Mapping[str, type[Declared]]

    @cached_property
    def union(self) -> TypeAdapter[Declared]:
        """All of them as one type, told apart by `name`."""
        types: Any = reduce(or_, self.declared.values())
        return TypeAdapter(Annotated[types, Field(discriminator="name")])

    def find(self, name: object, where: str) -> type[Declared]:
        """The declaration of this name; raises ConfigError that lists what there is."""
        declared = self.declared.get(name) if isinstance(name, str) else None
        if declared is None:
            message = f"{where}: {show(name)} is not allowed; must be {either(self.declared)}"
            raise ConfigError(message)
        return declared

    def read(self, fields: Mapping[Any, Any], where: str) -> Declared:
        """What these fields, one of which is a known name, describe."""
        try:
            return self.union.validate_python(fields)
        except ValidationError:  # said again, in our words
            return read_section(self.find(fields["name"], where), fields, where)


@cache
def strategies() -> Catalogue[StrategyConfig]:
    """All strategies; raises ConfigError naming the package whose declaration is broken."""
    return Catalogue(dict(_load("gac.strategies", STRATEGIES, StrategyConfig)))


@cache
def aggregations() -> Catalogue[AggregationConfig]:
    """All aggregations; raises ConfigError naming the package whose declaration is broken."""
    return Catalogue(dict(_load("gac.aggregations", AGGREGATIONS, AggregationConfig)))


def _load(group: str, own: Mapping[str, str], kind: Any) -> Iterator[tuple[str, Any]]:
    owners: dict[str, str] = {}
    builtin = [EntryPoint(name, place, group) for name, place in own.items()]
    for entry in (*builtin, *sorted(entry_points(group=group), key=lambda entry: entry.name)):
        dist = entry.dist
        owner = "gac itself" if dist is None else f"the package {dist.name} {dist.version}"
        if entry.name in owners:
            both = f"{owners[entry.name]} and {owner}"
            raise ConfigError(f"{group}: {show(entry.name)} is declared by {both}; remove one")
        owners[entry.name] = owner
        yield entry.name, _checked(entry, kind, f"{group}: {show(entry.name)} of {owner}")


def _checked(entry: EntryPoint, kind: Any, what: str) -> Any:
    """The class that an entry point names, if it declares what it should."""
    try:
        declared: Any = entry.load()
    except Exception as error:  # code of somebody else's: it may raise anything
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise ConfigError(f"{what} cannot be loaded from {entry.value} ({reason})") from error
    is_one = isinstance(declared, type) and issubclass(declared, kind)
    if not is_one:
        raise ConfigError(f"{what} is no subclass of {kind.__module__}.{kind.__name__}")
    if inspect.isabstract(declared):
        lacking = ", ".join(sorted(declared.__abstractmethods__))
        raise ConfigError(f"{what} does not define {lacking}")
    field = declared.model_fields["name"]
    if get_args(field.annotation) != (entry.name,) or field.default != entry.name:
        wanted = f'name: Literal["{entry.name}"] = "{entry.name}"'
        raise ConfigError(f"{what} needs the field {wanted}")
    return declared
