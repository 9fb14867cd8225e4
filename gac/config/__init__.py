"""The configuration: one YAML file, parsed once into frozen values that are handed on."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gac.config.catalogue import AGGREGATIONS, STRATEGIES
from gac.config.changes import describe_changes
from gac.config.methods import AggregationConfig, StrategyConfig
from gac.config.parse import (
    describe,
    load_config,
    parse_config,
    resolve_path,
)
from gac.config.parse_methods import (
    parse_aggregation,
    parse_strategy,
)
from gac.config.sections import (
    Config,
    EngineConfig,
    MemberConfig,
    RayConfig,
    RequestsConfig,
    ServerConfig,
    SpeculationConfig,
)

__all__ = [
    "AggregationConfig",
    "Config",
    "EngineConfig",
    "MemberConfig",
    "RayConfig",
    "RequestsConfig",
    "ServerConfig",
    "SpeculationConfig",
    "StrategyConfig",
    "describe",
    "describe_changes",
    "load_config",
    "parse_aggregation",
    "parse_config",
    "parse_strategy",
    "resolve_path",
]

if not TYPE_CHECKING:  # mypy would take any name for one of this module's

    def __getattr__(name: str) -> Any:
        """gac's own declarations, such as `EveryStepConfig`, from beside their algorithms."""
        for place in (*STRATEGIES.values(), *AGGREGATIONS.values()):
            module, _, declared = place.partition(":")
            if name == declared:
                return getattr(import_module(module), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
