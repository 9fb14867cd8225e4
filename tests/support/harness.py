"""lm-evaluation-harness as users run it: a process of its own, in the environment that has it."""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.server_process import ROOT

PYTHON = ROOT / ".evaluation" / "bin" / "python"
TASKS = ROOT / "demo" / "lm_eval_tasks"


@dataclass(frozen=True)
class Outcome:
    """What the harness wrote: its results, and each task's samples in the order of documents."""

    results: dict[str, Any]
    samples: dict[str, list[dict[str, Any]]]
    output: str

    @classmethod
    def read(cls, folder: Path, output: str) -> "Outcome":
        """The one evaluation whose files lie somewhere below a folder."""
        [file] = folder.rglob("results_*.json")
        samples = {}
        for path in folder.rglob("samples_*.jsonl"):
            name = path.name.removeprefix("samples_").rsplit("_", 1)[0]
            lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
            samples[name] = sorted(lines, key=lambda sample: sample["doc_id"])
        return cls(json.loads(file.read_text("utf-8")), samples, output)


def run(arguments: Sequence[object], code: int = 0, **environment: str) -> str:
    """Run Python there with these arguments; what it printed, errors included."""
    assert PYTHON.exists(), "`make test-all` makes the environment that lm-evaluation-harness is in"
    offline = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run(
        [str(part) for part in (PYTHON, *arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **offline},
    )
    assert done.returncode == code, done.stdout
    return done.stdout


def lm_eval(url: str, tasks: str, folder: Path, *flags: str) -> Outcome:
    """`lm_eval run` on tasks of the demo, 16 requests at once, with no other model arguments."""
    path, kind = "v1/completions", "local-completions"
    if "--apply_chat_template" in flags:
        path, kind = "v1/chat/completions", "local-chat-completions"
    output = run(
        [
            *("-m", "lm_eval", "run", "--model", kind, "--tasks", tasks),
            *("--model_args", f"model=gac,base_url={url}/{path},num_concurrent=16"),
            *("--include_path", TASKS, "--output_path", folder, "--log_samples", *flags),
        ]
    )
    return Outcome.read(folder, output)


def gac_evaluate(folder: Path, *arguments: object) -> Outcome:
    """`gac evaluate` with the demo's tasks."""
    given = ["--include-path", TASKS, "--output", folder, *arguments]
    return Outcome.read(folder, run(["-m", "gac", "evaluate", *given]))
