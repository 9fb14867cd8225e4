"""Every row of a paper's table has a configuration that can be read, and commands that exist."""

import math
from pathlib import Path

import pytest
import typer
import yaml

from gac.cli import main as commands
from gac.cli.options import configured, names_in, numbers_in
from gac.config import SafeConfig, ThresholdConfig
from reproduce.__main__ import main
from reproduce.papers import CONFIGS, Row, read_papers

PAPERS = read_papers()
ROWS = list(PAPERS.rows.values())
FILES = sorted(path.name for path in CONFIGS.iterdir())
MODELS = {
    model["name"]: model
    for model in yaml.safe_load((CONFIGS.parents[1] / "tested_models.yaml").read_text())["models"]
}
GPU_GIB = {"80 GB": 79, "24 GB": 23}
"""What a GPU of that size has free, about."""
TEXTS_TOKENS = 16 * 2048


def test_rows_name_every_configuration_and_no_other() -> None:
    assert {name for row in ROWS for name in row.configurations.values()} == set(FILES)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_row_has_the_columns_of_its_table(row: Row) -> None:
    columns = set(row.table.benchmarks)
    assert columns <= set(PAPERS.benchmarks)
    assert set(row.scores) == (columns if row.id != "demo" else set())
    assert set(row.configurations) == (set() if row.why else columns)


@pytest.mark.parametrize("row", [row for row in ROWS if row.average], ids=lambda row: row.id)
def test_scores_have_the_average_that_the_paper_gives(row: Row) -> None:
    """So a wrong digit shows."""
    assert row.average == pytest.approx(sum(row.scores.values()) / len(row.scores), abs=0.0101)


def test_every_row_of_a_paper_has_an_average() -> None:
    assert [row.id for row in ROWS if row.average is None] == ["demo"]
    counts = {name: sum(row.table.name == name for row in ROWS) for name in tables()}
    assert counts == {
        "gac_table3": 14,
        "gac_table4": 12,
        "gac_table5": 9,
        "safe_table2": 17,
        "demo": 1,
    }


def tables() -> set[str]:
    return {row.table.name for row in ROWS}


@pytest.mark.parametrize("name", FILES)
def test_configuration_is_read_and_says_what_it_needs(name: str) -> None:
    config = configured(CONFIGS / name)
    gpus = sum(member.num_gpus for member in config.members)
    text = (CONFIGS / name).read_text("utf-8")
    assert text.startswith("# Rows: ") and "\n# Shows: " in text
    needs = f"{gpus:g} GPU{'s' * (gpus > 1)} with " if gpus else "any CPU"
    assert f"\n# Needs: {needs}" in text


@pytest.mark.parametrize("name", [name for name in FILES if name != "demo.yaml"])
def test_weights_fit_the_gpus(name: str) -> None:
    [size] = [gib for shown, gib in GPU_GIB.items() if shown in (CONFIGS / name).read_text("utf-8")]
    config = configured(CONFIGS / name)
    assert config.engine.max_sequences * 2048 == TEXTS_TOKENS
    for member in config.members:
        limits = [float(limit.removesuffix("GiB")) for limit in (member.max_memory or {}).values()]
        assert len(limits) == math.ceil(member.num_gpus)
        assert max(limits) < size
        if known := MODELS.get(member.path):
            assert sum(limits) >= float(known["memory"].removesuffix("GiB"))
            assert member.num_gpus == known["gpus"]["count"]


@pytest.mark.parametrize("name", [name for name in FILES if "_gate" in name or "_safe." in name])
def test_gate_or_drafter_is_the_one_that_the_row_names_first(name: str) -> None:
    config = configured(CONFIGS / name)
    strategy = config.strategy
    assert isinstance(strategy, ThresholdConfig | SafeConfig)
    leader = strategy.gate if isinstance(strategy, ThresholdConfig) else strategy.drafter
    assert leader == config.members[0].name


def test_commands_have_flags_of_evaluate_and_as_many_examples_as_tasks(tmp_path: Path) -> None:
    evaluate = typer.main.get_command(commands.app).commands["evaluate"]  # type: ignore[attr-defined]
    flags = {flag for one in evaluate.params for flag in one.opts}
    for row in ROWS:
        for command in PAPERS.commands(row, tmp_path, ["--limit", "5"]):
            assert {part for part in command if part.startswith("--")} <= flags
            tasks = names_in("--tasks", command[command.index("--tasks") + 1])
            shots = numbers_in("", command[command.index("--num-fewshot") + 1])
            assert len(tasks) == len(shots) >= 1


def test_a_row_of_several_configurations_is_several_commands(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["gac_table4_row11", "--show", "--limit", "7"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and all(line.endswith("--limit 7") for line in lines)
    assert "gac_llama3_70b_yi.yaml --tasks bbh_fewshot --num-fewshot 3 " in lines[1]


def test_all_rows_are_listed_with_what_they_need(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == list(PAPERS.rows)
    assert "5 GPUs" in listed[list(PAPERS.rows).index("gac_table4_row10")]


@pytest.mark.parametrize("row, said", [("gac_table3_row3", "cannot be run here"), ("x", "no row")])
def test_row_that_cannot_run_is_refused(
    row: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([row])
    assert said in capsys.readouterr().err
