"""What a configuration changes: the keys that differ from their defaults, as YAML."""

from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import BaseModel

from gac.config.sections import Config

_KIND = "name"
"""Says which strategy, aggregation or member it is: never left out where its section is shown."""


def describe_changes(config: Config) -> str:
    """The keys that differ from their defaults, as YAML that parses to the same configuration."""
    return yaml.safe_dump(_changes(config), sort_keys=False, allow_unicode=True)


def _changes(section: BaseModel) -> dict[str, Any]:
    return {
        field.alias or key: _shown(value)
        for key, field in type(section).model_fields.items()
        if (value := getattr(section, key)) != field.get_default(call_default_factory=True)
        or key == _KIND
    }


def _shown(value: object) -> object:
    if isinstance(value, BaseModel):
        return _changes(value)
    if isinstance(value, Mapping):
        return dict(value)
    return [_shown(one) for one in value] if isinstance(value, tuple) else value
