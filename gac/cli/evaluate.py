"""Evaluate an ensemble by lm-evaluation-harness, through a server's own OpenAI API.

Scores nothing itself: it says what is missing, starts a server, calls the harness, and ends all.
"""

import json
import logging
import signal
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from gac import __version__
from gac.cli.harness import SCORED, Endpoint, Harness, Task
from gac.cli.obstacles import refuse_what_cannot_run
from gac.cli.own_server import OwnServer
from gac.cli.process import SIGNAL_CODE
from gac.config import Config, describe
from gac.errors import ConfigError, GacError, PlacementError

logger = logging.getLogger(__name__)

ENSEMBLE = "gac"
ASK_S = 30.0


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What is evaluated on which tasks, and how.

    Without a `url` a server of `config` is started.  `num_fewshot` has no number (each task's own),
    one for all tasks, or one for each.  `limit` is a number of documents, or below 1 a share.
    """

    config_path: Path | None
    config: Config | None
    url: str | None
    model: str
    tasks: tuple[str, ...]
    num_fewshot: tuple[int, ...]
    limit: float | None
    include_path: Path | None
    num_concurrent: int
    is_chat: bool
    max_gen_toks: int
    output: Path


Runs = Mapping[tuple[int | None, bool], Sequence[str]]
"""Names of tasks by the examples shown, and by whether they score given text: one run each."""


def evaluate(asked: Evaluation) -> int:
    """Run the tasks, print the harness' tables, save everything; returns the exit code.

    Raises: ConfigError, PlacementError or MemberError for what cannot run here, before anything is
    loaded; GacError if the harness fails.
    """
    _check(asked)
    harness = Harness(asked.tasks, asked.include_path)
    tasks = {name: harness.tasks(name) for name in asked.tasks}
    runs = _runs(asked, tasks)
    single = [task for group in tasks.values() for task in group]
    _obey_signals()
    refuse_what_cannot_run(None if asked.url else asked.config, single)
    _obey_signals()  # Ray, if it was asked for GPUs, has set its own handler
    asked.output.mkdir(parents=True, exist_ok=True)
    with _server(asked) as url:
        endpoint = _endpoint(asked, url)
        _record(asked, harness, endpoint)
        for (shots, _), names in runs.items():
            print(_run(asked, harness, names, endpoint, shots), flush=True)
    print(f"results: {asked.output}")
    return 0


def _check(asked: Evaluation) -> None:
    """Raise ConfigError for what is wrong whatever the harness and the server say."""
    if asked.limit is not None and asked.limit <= 0:
        raise ConfigError(f"--limit: {asked.limit:g} is not allowed; must be above 0")
    if asked.config is None and asked.url is None:
        raise ConfigError("give a configuration, or the --url of a server that runs")
    if len(asked.num_fewshot) > 1 and len(asked.num_fewshot) != len(asked.tasks):
        raise ConfigError(
            f"--num-fewshot: {len(asked.num_fewshot)} numbers for {len(asked.tasks)} tasks; "
            "must be one number for all, or one for each"
        )
    if asked.config is not None and not asked.url:
        names = [f"{ENSEMBLE}/{member.name}" for member in asked.config.members]
        _check_model(asked.model, [ENSEMBLE, *names])


def _check_model(model: str, known: Sequence[str]) -> None:
    if model not in known:
        raise ConfigError(f"--model: {model!r} is not allowed; must be {' or '.join(known)}")


def _runs(asked: Evaluation, tasks: Mapping[str, Sequence[Task]]) -> Runs:
    """Which tasks are run together.  Raises: ConfigError for what cannot be scored so."""
    shots: Sequence[int | None] = asked.num_fewshot or (None,)
    if len(shots) == 1:
        shots = [shots[0]] * len(asked.tasks)
    runs: dict[tuple[int | None, bool], list[str]] = {}
    for name, number in zip(asked.tasks, shots, strict=True):
        scored = [task.name for task in tasks[name] if task.output_type in SCORED]
        if scored and asked.is_chat:
            raise ConfigError(
                f"--chat: task {scored[0]!r} needs the probabilities of given text, which the "
                "chat API does not tell; use --completions"
            )
        if scored and asked.model != ENSEMBLE and asked.config is None:
            raise ConfigError(
                f"--model {asked.model}: task {scored[0]!r} is scored in the member's own tokens; "
                "give the configuration, too, which names its tokenizer"
            )
        runs.setdefault((number, bool(scored)), []).append(name)
    return runs


@contextmanager
def _server(asked: Evaluation) -> Iterator[str]:
    """The URL of the server to ask: the one that runs, or one that ends with the evaluation."""
    if asked.url is not None:
        yield asked.url.rstrip("/")
        return
    assert asked.config_path is not None
    with OwnServer(asked.config_path, asked.output / "server.log") as server:
        yield server.url


def _endpoint(asked: Evaluation, url: str) -> Endpoint:
    """The server's model, with the context length and the tokenizer that go with it."""
    lengths = {model["id"]: model["max_model_len"] for model in _get(url, "/v1/models")["data"]}
    _check_model(asked.model, list(lengths))
    return Endpoint(
        url,
        asked.model,
        asked.is_chat,
        asked.num_concurrent,
        asked.max_gen_toks,
        lengths[asked.model],
        _tokenizer(asked),
    )


def _tokenizer(asked: Evaluation) -> str | None:
    """A single member's own, as the server tells only that of the ensemble."""
    if asked.model == ENSEMBLE or asked.config is None:
        return None
    [path] = [m.path for m in asked.config.members if f"{ENSEMBLE}/{m.name}" == asked.model]
    return path


def _get(url: str, path: str) -> Any:
    """What a server answers.  Raises: PlacementError if there is none."""
    try:
        with urllib.request.urlopen(url + path, timeout=ASK_S) as answer:
            return json.load(answer)
    except (OSError, ValueError) as error:
        raise PlacementError(f"no server of this kind at {url}{path}: {error}") from error


def _record(asked: Evaluation, harness: Harness, endpoint: Endpoint) -> None:
    """Write what is evaluated: the whole configuration, versions, devices, what was asked for."""
    if asked.config is not None:
        (asked.output / "config.yaml").write_text(describe(asked.config), "utf-8")
    facts = {
        "gac": __version__,
        "lm_eval": harness.version,
        "model": asked.model,
        "url": asked.url,
        "tasks": asked.tasks,
        "num_fewshot": asked.num_fewshot or None,
        "limit": asked.limit,
        "num_concurrent": asked.num_concurrent,
        "api": "chat" if asked.is_chat else "completions",
        "max_gen_toks": asked.max_gen_toks,
        "max_length": endpoint.max_length,
        "status": _get(endpoint.url, "/status"),
    }
    (asked.output / "evaluation.json").write_text(json.dumps(facts, indent=2) + "\n", "utf-8")


def _run(
    asked: Evaluation,
    harness: Harness,
    names: Sequence[str],
    endpoint: Endpoint,
    num_fewshot: int | None,
) -> str:
    """One call of the harness.  Raises: GacError with what it failed by."""
    try:
        return harness.run(names, endpoint, num_fewshot, asked.limit, asked.output)
    except Exception as error:  # the edge to another program: whatever its tasks and clients raise
        logger.debug("the harness failed", exc_info=True)
        raise GacError(
            f"lm-evaluation-harness failed on {', '.join(names)}: {type(error).__name__}: {error}"
        ) from error


def _obey_signals() -> None:
    """Let Ctrl-C and SIGTERM unwind this process, so that the server it started ends, too."""

    def stop(number: int, _: FrameType | None) -> NoReturn:
        raise SystemExit(SIGNAL_CODE + number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
