"""Every example configuration loads, and shows what its first lines say."""

import re
from pathlib import Path

import pytest
import yaml

from gac.config import (
    EveryStepConfig,
    GeometricConfig,
    ThresholdConfig,
    UniteConfig,
    describe,
    describe_changes,
    load_config,
    parse_config,
)

FOLDER = Path(__file__).parent.parent / "example_configs"
FILES = sorted(path.name for path in FOLDER.iterdir())


def test_the_promised_examples_exist() -> None:
    assert set(FILES) >= {
        "demo.yaml",
        "demo_two.yaml",
        "example_ensemble_every_step.yaml",
        "example_thresholded_ensemble.yaml",
        "laptop_cpu.yaml",
        "several_gpus_quantized.yaml",
    }


@pytest.mark.parametrize("name", FILES)
def test_example_loads(name: str) -> None:
    assert len(load_config(FOLDER / name).members) >= 2


@pytest.mark.parametrize("name", FILES)
def test_what_differs_from_the_defaults_is_all_that_is_needed(name: str) -> None:
    """As the server prints it at its start."""
    config = load_config(FOLDER / name)
    shown = describe_changes(config)
    assert parse_config(yaml.safe_load(shown), "shown", FOLDER) == config
    assert len(shown) < len(describe(config)) / 2


@pytest.mark.parametrize("name", FILES)
def test_example_says_what_it_shows_needs_and_how_to_start(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    comment = text[: re.search(r"^(?!#)", text, re.MULTILINE).start()]  # type: ignore[union-attr]
    command = f"python gac_api_server.py --config-path example_configs/{name}"
    assert comment.startswith("# Shows: ") and "\n# Needs: " in comment
    assert comment.endswith(f"\n# Start: {command}\n")


@pytest.mark.parametrize(
    "name", ["demo.yaml", "demo_two.yaml", "demo_geometric.yaml", "demo_gate_unite.yaml"]
)
def test_demo_members_are_in_the_repository(name: str) -> None:
    for member in load_config(FOLDER / name).members:
        assert (Path(member.path) / "config.json").is_file()
        assert member.num_gpus == 0


def test_the_default_demo_is_all_three_members() -> None:
    config = load_config(FOLDER / "demo.yaml")
    assert [member.name for member in config.members] == ["ada", "bora", "cleo"]
    assert config.strategy == EveryStepConfig()
    assert "CONFIG ?= example_configs/demo.yaml\n" in (FOLDER.parent / "Makefile").read_text()


def test_every_step_example_asks_all_members() -> None:
    config = load_config(FOLDER / "example_ensemble_every_step.yaml")
    assert config.strategy == EveryStepConfig()
    assert [member.num_gpus for member in config.members] == [0.5, 0.5]


def test_thresholded_example_has_openchat_as_its_gate() -> None:
    config = load_config(FOLDER / "example_thresholded_ensemble.yaml")
    assert config.strategy == ThresholdConfig(gate="openchat-3.5-0106", threshold=0.5)


def test_geometric_example_has_a_guard_and_narrows_requests() -> None:
    config = load_config(FOLDER / "demo_geometric.yaml")
    assert config.strategy == EveryStepConfig(aggregation=GeometricConfig(), conflict_guard="ada")
    assert config.requests.may_choose == ("aggregation", "members")


def test_unite_example_has_a_gate() -> None:
    config = load_config(FOLDER / "demo_gate_unite.yaml")
    unite = UniteConfig(top_k=10)
    assert config.strategy == ThresholdConfig(gate="ada", threshold=0.7, aggregation=unite)


def test_laptop_example_uses_no_gpu() -> None:
    config = load_config(FOLDER / "laptop_cpu.yaml")
    assert {(member.num_gpus, member.device) for member in config.members} == {(0.0, "cpu")}


def test_quantized_example_uses_both_widths_and_one_member_on_two_gpus() -> None:
    members = load_config(FOLDER / "several_gpus_quantized.yaml").members
    assert sorted(member.quantization for member in members) == ["4bit", "8bit", "none"]
    [wide] = [member for member in members if member.num_gpus == 2]
    assert set(wide.max_memory or ()) == {0, 1}
