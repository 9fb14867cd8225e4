"""What `gac check` tells of members: chat templates, and where models would run."""

import json
from pathlib import Path
from typing import Any

import pytest

from gac.cli.check import check
from gac.config import Config, parse_config
from tests.support.fakes import byte_level_definition

TEMPLATE = "{% for m in messages %}{{ m.content }}<|end|>{% endfor %}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The tokenizer of a model without a template, and a template."""
    model = tmp_path / "ada"
    model.mkdir()
    config = {"model_type": "llama", "vocab_size": 300, "eos_token_id": 256}
    (model / "config.json").write_text(json.dumps(config))
    (model / "tokenizer.json").write_text(byte_level_definition([]))
    (tmp_path / "chat.jinja").write_text(TEMPLATE)
    return tmp_path


def config_of(folder: Path, *members: dict[str, Any], ray: bool = False) -> Config:
    listed = [{"weight": "ada", **member} for member in members]
    data = {"CONFIG_API_SERVER": listed, "ray": {"enabled": ray}}
    return parse_config(data, "c.yaml", folder)


def test_members_without_a_template_are_warned_of(folder: Path, capsys) -> None:
    templated = {"name": "bora", "chat_template": "chat.jinja"}
    assert check(config_of(folder, {}, templated)) == 0
    printed = capsys.readouterr().out
    assert "WARNING: ada has no chat template" in printed
    assert "chat_template: FILE gives it one" in printed
    assert "WARNING: bora" not in printed


@pytest.mark.parametrize(
    ("ray", "member", "where"),
    [
        (True, {}, "on the CPU (num_gpus: 0)"),
        (True, {"num_gpus": 0.5}, "on a GPU"),
        (False, {}, "on a GPU if there is one, else on the CPU"),
        (False, {"device": "cpu"}, "on the CPU (device: cpu)"),
    ],
)
def test_where_a_model_would_run_is_told(
    folder: Path, capsys, monkeypatch, ray: bool, member: dict[str, Any], where: str
) -> None:
    monkeypatch.setattr("gac.cli.check._try_to_place", lambda config: None)
    assert check(config_of(folder, member, ray=ray)) == 0
    assert f"dtype auto, {where}; {folder / 'ada'}\n" in capsys.readouterr().out
