"""Configurations in few words."""

from pathlib import Path
from typing import Any

from gac.config import (
    Config,
    parse_config,
)

HERE = Path("/nowhere")


def member(name: str, **keys: Any) -> dict[str, Any]:
    return {"weight": f"org/{name}", "name": name, **keys}


def two(**keys: Any) -> dict[str, Any]:
    """A configuration of two supportive members with these top-level keys."""
    return {"CONFIG_API_SERVER": [member("ada"), member("bora")], **keys}


def one(**keys: Any) -> dict[Any, Any]:
    return {"CONFIG_API_SERVER": [member("ada", **keys)]}


def parse(data: object) -> Config:
    return parse_config(data, "c.yaml", HERE)
