"""Results beside the papers' numbers: the harness' own scores, the latest ones."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from reproduce.compare import compared, main, measured
from reproduce.papers import Benchmark, read_papers

GSM8K = Benchmark("GSM8K", "gsm8k", 5, "exact_match,strict-match")
GROUP = Benchmark("MMLU", "mmlu", 5, "exact_match,strict-match")


def entry(score: float, error: float | str) -> dict[str, Any]:
    return {"exact_match,strict-match": score, "exact_match_stderr,strict-match": error}


def result(scores: dict[str, Any], counts: dict[str, tuple[int, int]], **more: Any) -> Any:
    samples = {k: {"effective": some, "original": all_} for k, (some, all_) in counts.items()}
    return {"results": scores, "n-samples": samples, "group_subtasks": {}, **more}


def test_score_and_error_are_the_harness_own_in_per_cent() -> None:
    found = measured(result({"gsm8k": entry(0.743, 0.012)}, {"gsm8k": (1319, 1319)}), GSM8K)
    assert str(found) == "74.30 ± 1.20"


def test_a_part_of_the_documents_is_marked() -> None:
    found = measured(result({"gsm8k": entry(0.5, 0.1)}, {"gsm8k": (10, 1319)}), GSM8K)
    assert str(found) == "50.00 ± 10.00*"


def test_error_that_the_harness_does_not_know_is_no_number() -> None:
    found = measured(result({"gsm8k": entry(0.5, "N/A")}, {"gsm8k": (1, 1)}), GSM8K)
    assert found and math.isnan(found.error)


def test_other_tasks_and_other_metrics_are_not_there() -> None:
    assert measured(result({"bbh": entry(0.5, 0.1)}, {"bbh": (1, 1)}), GSM8K) is None
    assert measured(result({"gsm8k": {"acc,none": 0.5}}, {"gsm8k": (1, 1)}), GSM8K) is None


def test_group_that_is_not_aggregated_is_the_mean_over_all_documents() -> None:
    """Three of four right, and one of one: four of five; errors are those of independent tasks."""
    scores = {"mmlu": {"alias": "mmlu"}, "stem": {}, "a": entry(0.75, 0.2), "b": entry(1.0, 0.0)}
    groups = {"mmlu": ["stem"], "stem": ["a", "b"]}
    found = measured(result(scores, {"a": (4, 4), "b": (1, 1)}, group_subtasks=groups), GROUP)
    assert found and found.score == pytest.approx(80.0)
    assert found.error == pytest.approx(100 * 0.2 * 4 / 5)


def test_latest_result_stands_beside_the_paper(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for time, score in (("2026-02", 0.7), ("2026-03", 0.75), ("2026-01", 0.1)):
        folder = tmp_path / "gac_table3_row6" / "gac_openchat_solar" / "gac"
        folder.mkdir(parents=True, exist_ok=True)
        data = result({"gsm8k": entry(score, 0.01)}, {"gsm8k": (1319, 1319)})
        (folder / f"results_{time}.json").write_text(json.dumps(data))
    main([str(tmp_path)])
    shown = capsys.readouterr().out
    assert (
        "| gac_table3_row6 | openchat_3.5 + SOLAR, GaC | 66.51, - | 74.30, 75.00 ± 1.00 |" in shown
    )
    assert "gac_table3_row1 " not in shown and "*" not in shown


def test_shares_of_ensembled_tokens_are_the_papers(tmp_path: Path) -> None:
    files = {
        "gac_table3_row8": ("gsm8k", 0.7),
        "safe_table2_iq_gac_safe": ("arc_challenge_chat", 0.7),
    }
    for row, (task, score) in files.items():
        (tmp_path / row).mkdir()
        metrics = {f"exact_match,{name}": score for name in ("strict-match", "remove_whitespace")}
        data = result({task: metrics}, {task: (10, 10)})
        (tmp_path / row / "results_1.json").write_text(json.dumps(data))
    shown = compared(read_papers(), tmp_path)
    assert "| openchat_3.5 (gate, 0.5) + SOLAR, GaC (7.68 % ensembled) | 65.14, - |" in shown
    assert "(6.22 % ensembled), 70.00" in shown


def test_nothing_that_ran_is_said(tmp_path: Path) -> None:
    assert compared(read_papers(), tmp_path) == f"There are no results below {tmp_path}."
