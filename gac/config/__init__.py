"""The configuration: one YAML file, parsed once into frozen values that are handed on."""

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
    UniteConfig,
)
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
    "ArithmeticConfig",
    "Config",
    "CoreConfig",
    "EngineConfig",
    "EntropyConfig",
    "EveryStepConfig",
    "GeometricConfig",
    "MemberConfig",
    "MinConfig",
    "MixtureConfig",
    "RayConfig",
    "ReplaceConfig",
    "RequestsConfig",
    "SafeConfig",
    "ServerConfig",
    "SpeculationConfig",
    "StrategyConfig",
    "ThresholdConfig",
    "UniteConfig",
    "describe",
    "load_config",
    "parse_aggregation",
    "parse_config",
    "parse_strategy",
    "resolve_path",
]
