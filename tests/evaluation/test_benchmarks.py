"""The tasks and metrics that tables name are those of the harness that is installed."""

import json

import pytest

from gac.cli.harness import SCORED
from reproduce.papers import read_papers
from tests.support.harness import TASKS, run

pytestmark = pytest.mark.slow

PROGRAM = """
import json, sys
from pathlib import Path
from gac.cli.harness import Harness
harness = Harness(sys.argv[2:], Path(sys.argv[1]))
found = {}
for name in sys.argv[2:]:
    for task in harness.tasks(name):
        fields = harness._manager.task_index[task.name].cfg
        filters = [one["name"] for one in fields.get("filter_list", [{"name": "none"}])]
        metrics = [one["metric"] for one in fields["metric_list"]]
        keys = [f"{metric},{name}" for metric in metrics for name in filters]
        found.setdefault(name, []).append([task.name, task.output_type, task.data_path, keys])
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found() -> dict[str, list[tuple[str, str, str | None, list[str]]]]:
    names = [benchmark.task for benchmark in read_papers().benchmarks.values()]
    return json.loads(run(["-c", PROGRAM, TASKS, *names]).splitlines()[-1])


def test_every_task_has_the_metric_that_is_compared(found: dict[str, list[list]]) -> None:
    for benchmark in read_papers().benchmarks.values():
        for name, _, _, keys in found[benchmark.task]:
            assert benchmark.metric in keys, name


def test_groups_have_all_their_tasks(found: dict[str, list[list]]) -> None:
    counts = {name: len({task for task, *_ in tasks}) for name, tasks in found.items()}
    assert counts["mmlu_flan_n_shot_generative"] == counts["mmlu_redux_generative"] == 57
    assert counts["bbh_fewshot"] == counts["bbh_cot_fewshot"] == 27
    assert sum(counts.values()) == 2 * 57 + 2 * 27 + len(counts) - 4


def test_the_extra_has_what_the_tasks_import() -> None:
    run(["-c", "import lm_eval.tasks.minerva_math.utils"])


def test_papers_need_no_likelihoods_and_the_demo_no_data(found: dict[str, list[list]]) -> None:
    for name, tasks in found.items():
        for _, output_type, data_path, _ in tasks:
            assert (output_type in SCORED) == (name == "demo_choices")
            assert (data_path is None) == name.startswith("demo_")
