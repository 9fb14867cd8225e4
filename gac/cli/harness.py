"""lm-evaluation-harness as a library: which tasks there are, and how they are run.

Knows the harness and a server's URL; knows no configuration.  It is an extra, imported when needed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gac.errors import ConfigError

MISSING = (
    "lm-evaluation-harness is not installed.  Install it with: pip install 'gac-server[eval]' "
    "(in the repository: pip install -r requirements-eval.txt)"
)
SCORED = ("multiple_choice", "loglikelihood", "loglikelihood_rolling")
"""Types of tasks that need the probabilities of given text."""
TIMEOUT_S = 3600
"""Of one request, its wait for a place included; the harness' own 300 s abort slow ensembles."""


@dataclass(frozen=True, slots=True)
class Task:
    """A single task: how its output is made, and which data set it reads, if from the hub."""

    name: str
    output_type: str
    data_path: str | None
    data_name: str | None
    data_options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The server and the model that are asked.

    `tokenizer` is the folder or hub name whose ids the model takes; None where the server tells.
    """

    url: str
    model: str
    is_chat: bool
    num_concurrent: int
    max_gen_toks: int
    max_length: int
    tokenizer: str | None = None

    def arguments(self, is_scored: bool) -> dict[str, Any]:
        """The harness' `model_args`.

        Prompts to be continued are sent as text, which every member encodes for itself; text to be
        scored as ids, since the harness counts the ids of the prompt.
        """
        path = "/v1/chat/completions" if self.is_chat else "/v1/completions"
        common = {
            "model": self.model,
            "base_url": self.url + path,
            "num_concurrent": self.num_concurrent,
            "max_gen_toks": self.max_gen_toks,
            "max_length": self.max_length,
            "timeout": TIMEOUT_S,
        }
        if not is_scored:
            return {**common, "tokenizer_backend": "none", "tokenized_requests": False}
        if self.tokenizer is None:
            return common
        return {**common, "tokenizer_backend": "huggingface", "tokenizer": self.tokenizer}


class Harness:
    """The tasks of the installed harness, and those of a folder of one's own."""

    def __init__(self, names: Sequence[str], include_path: Path | None) -> None:
        if find_spec("lm_eval") is None:
            raise ConfigError(MISSING)
        from lm_eval.tasks import TaskManager

        folder = str(include_path) if include_path else None
        self._manager = TaskManager(include_path=folder, include_defaults=False)
        # Reading the harness' own fourteen thousand tasks takes a while.
        if not folder or not set(names) <= set(self._manager.all_tasks):
            self._manager = TaskManager(include_path=folder)

    @property
    def version(self) -> str:
        """That of the installed package."""
        from importlib.metadata import version

        return version("lm_eval")

    def tasks(self, name: str) -> list[Task]:
        """The single tasks that a task, group or tag consists of.  Raises: ConfigError."""
        if name not in self._manager.task_index:
            near = get_close_matches(name, self._manager.all_tasks, n=1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"--tasks: lm-evaluation-harness has no task {name!r}{meant}")
        return list(self._leaves(name))

    def _leaves(self, item: str | Mapping[str, Any]) -> Iterator[Task]:
        """What an item of a group's list means, at any depth."""
        index = self._manager.task_index
        name = item if isinstance(item, str) else item.get("group") or item["task"]
        entry = index.get(name) if isinstance(name, str) else None
        fields = entry.cfg if entry and entry.cfg else {} if isinstance(item, str) else item
        children = fields.get("task")
        if entry and entry.kind.name == "TAG":
            children = sorted(entry.tags)
        if isinstance(children, list):
            for child in children:
                yield from self._leaves(child)
        else:
            yield _task(str(name), fields)

    def run(
        self,
        names: Sequence[str],
        endpoint: Endpoint,
        num_fewshot: int | None,
        limit: float | None,
        output: Path,
    ) -> str:
        """Run tasks of one kind, save what came out below `output`; returns the harness' table."""
        from lm_eval import simple_evaluate
        from lm_eval.loggers import EvaluationTracker

        tracker = EvaluationTracker(output_path=str(output))
        is_scored = any(task.output_type in SCORED for name in names for task in self.tasks(name))
        results = simple_evaluate(
            model="local-chat-completions" if endpoint.is_chat else "local-completions",
            model_args=endpoint.arguments(is_scored),
            tasks=list(names),
            num_fewshot=num_fewshot,
            limit=limit,
            log_samples=True,
            apply_chat_template=endpoint.is_chat,
            evaluation_tracker=tracker,
            task_manager=self._manager,
        )
        samples = results.pop("samples")
        tracker.save_results_aggregated(results=results, samples=samples)
        for name in results["configs"]:
            tracker.save_results_samples(task_name=name, samples=samples[name])
        return _table(results)


def _task(name: str, fields: Mapping[str, Any]) -> Task:
    is_own = fields.get("custom_dataset") is not None
    return Task(
        name,
        str(fields.get("output_type", "generate_until")),
        None if is_own else fields.get("dataset_path"),
        fields.get("dataset_name"),
        dict(fields.get("dataset_kwargs") or {}),
    )


def _table(results: Mapping[str, Any]) -> str:
    """Every score with its standard error, as the harness prints it."""
    from lm_eval.utils import make_table

    parts = [make_table(results)]
    if results.get("groups"):
        parts.append(make_table(results, "groups"))
    return "\n".join(str(part) for part in parts)
