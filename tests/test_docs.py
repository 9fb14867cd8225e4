"""The README names everything a user can set or call, and nothing that is not there."""

import re
from pathlib import Path

import pytest
import typer

from gac.cli.api_server import app
from gac.config import (
    EngineConfig,
    EveryStepConfig,
    MemberConfig,
    RayConfig,
    ReplaceConfig,
    RequestsConfig,
    SafeConfig,
    ServerConfig,
    SpeculationConfig,
    ThresholdConfig,
    UniteConfig,
)
from gac.config.parse_methods import AGGREGATIONS, STRATEGIES
from gac.server.schemas import GenerateAnswer, GenerateBody

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
FIELDS = {
    field.alias or name
    for model in (
        EngineConfig,
        EveryStepConfig,
        MemberConfig,
        RayConfig,
        ReplaceConfig,
        RequestsConfig,
        SafeConfig,
        ServerConfig,
        SpeculationConfig,
        ThresholdConfig,
        UniteConfig,
        GenerateBody,
        GenerateAnswer,
    )
    for name, field in model.model_fields.items()
}


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_every_key_and_field_is_named(name: str) -> None:
    assert re.search(rf"[`'\s{{]{name}[`':,\s]", README), f"README does not mention {name}"


@pytest.mark.parametrize(
    "text",
    ["/api/generate", "/status", "/health/live", "/health/ready"]
    + [f"`{name}`" for name in (*STRATEGIES, *AGGREGATIONS)]
    + [flag for option in typer.main.get_command(app).params for flag in option.opts],
)
def test_every_strategy_endpoint_and_flag_is_named(text: str) -> None:
    assert text in README or text == "--help"


def test_every_file_the_readme_names_exists() -> None:
    tree = README.split("## How it is built")[1]
    named = re.findall(r"\b((?:gac/)?[a-z_]+/[a-z_/]+\.py|[a-z_]+\.(?:py|yaml|md))\b", tree)
    assert len(named) > 15
    for name in named:
        found = any((ROOT / folder / name).exists() for folder in ("", "gac"))
        assert found, f"README names {name}"


def test_no_placeholder_is_left() -> None:
    assert not re.findall(r"@[A-Z]+@", README)
    for make_target in re.findall(r"^make (\w+)", README, re.M):
        assert f"\n{make_target}:" in (ROOT / "Makefile").read_text()
