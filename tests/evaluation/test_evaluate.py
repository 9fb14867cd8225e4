"""`gac evaluate`: what it refuses before it starts, what it writes, and that it leaves nothing."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from gac.cli import evaluate as evaluation
from gac.cli import harness, obstacles
from gac.cli.evaluate import Evaluation
from gac.cli.harness import Endpoint, Task
from gac.cli.main import main
from gac.config import load_config
from gac.errors import ConfigError, MemberError, PlacementError
from tests.support.fake_service import until
from tests.support.harness import PYTHON, TASKS, gac_evaluate, run
from tests.support.server_process import ROOT, demo_config

IN_PROCESS = {"enabled": False}
CLOZE = Task("demo_cloze", "generate_until", None, None, {})
CHOICES = Task("demo_choices", "multiple_choice", None, None, {})
HUB = Task("gsm8k", "generate_until", "openai/gsm8k", "main", {})
HERE = Endpoint("http://x", "gac", False, 16, 256, 2048)


def asked(**changes: Any) -> Evaluation:
    fields: dict[str, Any] = {
        **dict.fromkeys(("config_path", "config", "url", "limit", "include_path")),
        "url": "http://127.0.0.1:1",
        "model": "gac",
        "tasks": ("demo_cloze", "demo_choices", "gsm8k"),
        "num_fewshot": (),
        "num_concurrent": 16,
        "is_chat": False,
        "max_gen_toks": 256,
        "output": Path("nowhere"),
    }
    return Evaluation(**{**fields, **changes})


def runs(**changes: Any) -> Any:
    tasks = {"demo_cloze": [CLOZE], "demo_choices": [CHOICES, CLOZE], "gsm8k": [HUB]}
    return dict(evaluation._runs(asked(**changes), tasks))


def test_tasks_of_one_kind_and_as_many_examples_are_one_run() -> None:
    both = {(None, False): ["demo_cloze", "gsm8k"], (None, True): ["demo_choices"]}
    assert runs() == both
    assert runs(num_fewshot=(5,)) == {(5, scored): names for (_, scored), names in both.items()}
    assert runs(num_fewshot=(0, 0, 5)) == {
        (0, False): ["demo_cloze"],
        (0, True): ["demo_choices"],
        (5, False): ["gsm8k"],
    }


def test_given_text_cannot_be_scored_through_a_chat() -> None:
    with pytest.raises(ConfigError, match="--chat: task 'demo_choices' needs the probabilities"):
        runs(is_chat=True)


def test_member_is_scored_only_where_its_tokenizer_is_known(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'demo_choices' is scored in the member's own tokens"):
        runs(model="gac/ada")
    config = load_config(demo_config(tmp_path))
    assert runs(model="gac/ada", config=config) == runs()


def test_prompts_are_sent_as_text_and_scored_text_as_ids() -> None:
    generating, scoring = HERE.arguments(False), HERE.arguments(True)
    assert generating["tokenized_requests"] is False
    assert "tokenized_requests" not in scoring and "tokenizer" not in scoring
    own = Endpoint("http://x", "gac/a", False, 1, 256, 99, tokenizer="models/a").arguments(True)
    assert (own["tokenizer"], own["tokenizer_backend"]) == ("models/a", "huggingface")
    assert own["base_url"] == "http://x/v1/completions" and own["max_length"] == 99


@pytest.mark.parametrize(
    "arguments, said",
    [
        ([], "give a configuration, or the --url"),
        (["--num-fewshot", "5,x"], "--num-fewshot: '5,x' is not allowed"),
        (["--url", "http://127.0.0.1:1", "--num-fewshot", "1,2"], "2 numbers for 1 tasks"),
        (["no_such_file.yaml"], "no_such_file.yaml"),
        (["CONFIG", "--limit", "0"], "--limit: 0 is not allowed"),
        (["CONFIG", "--model", "gac/dora"], "must be gac or gac/ada or gac/bora"),
        (["CONFIG", "--tasks", " ,"], "must be names separated by commas"),
    ],
)
def test_wrong_command_lines_are_one_message(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(demo_config(tmp_path))
    given = [config if argument == "CONFIG" else argument for argument in arguments]
    code = main(["evaluate", "--tasks", "gsm8k", "--output", str(tmp_path / "out"), *given])
    shown = capsys.readouterr().err
    assert (code, shown.count("error: ")) == (2, 1) and said in shown
    assert not (tmp_path / "out").exists()


def test_without_the_extra_the_command_that_installs_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(harness, "find_spec", lambda _: None)
    given = [str(demo_config(tmp_path)), "--tasks", "gsm8k", "--output", str(tmp_path / "out")]
    assert main(["evaluate", *given]) == 2
    assert "pip install 'gac-server[eval]'" in capsys.readouterr().err


def test_everything_that_is_not_here_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code is that of the first thing; a member that lies here is not named."""
    far = {"weight": "nobody/nothing", "name": "far"}
    near = {"weight": str(ROOT / "demo" / "models" / "ada"), "name": "near"}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"CONFIG_API_SERVER": [far, near], "ray": IN_PROCESS}))
    config = load_config(path)
    monkeypatch.setattr(obstacles, "why_offline", lambda: "it is night")
    monkeypatch.setattr(obstacles, "_why_unreadable", lambda task, is_offline: str(is_offline))
    with pytest.raises(MemberError) as found:
        obstacles.refuse_what_cannot_run(config, [CLOZE, HUB, HUB])
    assert found.value.message.splitlines() == [
        "this evaluation cannot run here:",
        "- member 'far': nobody/nothing is not on this machine, and it is night",
        "- task 'gsm8k': the data set openai/gsm8k is not on this machine, and it is night",
    ]
    monkeypatch.setattr(obstacles, "why_offline", lambda: None)
    monkeypatch.setattr(obstacles, "_why_unreadable", lambda *_: "it is empty")
    with pytest.raises(ConfigError, match="gsm8k cannot be read: it is empty$"):
        obstacles.refuse_what_cannot_run(config, [CLOZE, HUB])
    obstacles.refuse_what_cannot_run(config, [CLOZE])


def test_server_that_does_not_run_is_told() -> None:
    with pytest.raises(PlacementError, match="no server of this kind at http://127.0.0.1:1/v1"):
        evaluation._endpoint(asked(), "http://127.0.0.1:1")


@pytest.mark.slow
def test_a_server_is_started_asked_and_ended(tmp_path: Path) -> None:
    config, folder = demo_config(tmp_path, ray=IN_PROCESS), tmp_path / "out"
    before = children()
    outcome = gac_evaluate(
        folder, config, "--tasks", "demo_cloze", "--limit", "30", "--num-concurrent", "4"
    )
    score = outcome.results["results"]["demo_cloze"]["exact_match,remove_whitespace"]
    assert f"|exact_match|↑  |{score:6.4f}" in outcome.output and "Stderr" in outcome.output
    assert "Requesting API" in outcome.output  # its progress
    assert 0.0 < score < 1.0 and len(outcome.samples["demo_cloze"]) == 30
    assert load_config(folder / "config.yaml").members == load_config(config).members
    facts = json.loads((folder / "evaluation.json").read_text())
    assert (facts["lm_eval"], facts["api"], facts["limit"]) == (locked(), "completions", 30.0)
    assert {m["dtype"] for m in facts["status"]["members"].values()} == {"float32"}
    assert "listening on http://127.0.0.1:" in (folder / "server.log").read_text()
    assert children() == before


def children() -> set[str]:
    """The servers that run below this process, or were left by one that did."""
    shown = set()
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if "serve" in line and any("pytest" in part for part in line):
            shown.add(" ".join(line))
    return shown


def locked() -> str:
    found = re.search(
        r"^lm_eval\[api,math\]==(\S+)$", (ROOT / "requirements-eval.txt").read_text(), re.M
    )
    assert found
    return found[1]


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM], ids=lambda stop: stop.name)
def test_interrupted_it_ends_the_server_too(stop: signal.Signals, tmp_path: Path) -> None:
    config, log = demo_config(tmp_path, ray=IN_PROCESS), tmp_path / "out" / "server.log"
    given = ["--tasks", "demo_cloze", "--include-path", str(TASKS), "--output", str(log.parent)]
    process = subprocess.Popen(
        [str(PYTHON), "-m", "gac", "evaluate", str(config), *given, "--num-concurrent", "1"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    )
    try:
        assert until(lambda: log.exists() and "finished by" in log.read_text(), timeout_s=200.0)
        process.send_signal(stop)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + stop, output.decode()
    assert "Traceback" not in output.decode()
    assert not any(str(config) in line for line in children())


@pytest.mark.slow
def test_server_that_cannot_load_gives_its_own_reason_and_code(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in (ROOT / "demo" / "models" / "ada").iterdir():
        if file.suffix != ".safetensors":
            (broken / file.name).write_bytes(file.read_bytes())
    path = tmp_path / "config.yaml"
    members = [{"weight": str(broken), "name": "broken"}]
    path.write_text(yaml.safe_dump({"CONFIG_API_SERVER": members, "ray": IN_PROCESS}))
    given = ["--tasks", "demo_cloze", "--include-path", TASKS, "--output", tmp_path / "out"]
    said = run(["-m", "gac", "evaluate", path, *given], code=3)
    assert (
        "error: the server could not start: " in said and "broken" in said.rpartition("error: ")[2]
    )


@pytest.mark.slow
@pytest.mark.ray
def test_rows_of_papers_say_what_they_lack_before_they_start(tmp_path: Path) -> None:
    given = ["-m", "reproduce", "gac_table3_row6", "--output", tmp_path]
    said = run(given, code=3, HF_HOME=str(tmp_path / "empty"))
    assert "member 'openchat_3.5' asks for 1 GPU" in said
    assert said.count("is not on this machine, and HF_HUB_OFFLINE is set") >= 2 + 4
    assert not list(tmp_path.glob("gac_table3_row6/*"))


@pytest.mark.slow
def test_demo_row_runs_and_stands_in_the_table(tmp_path: Path) -> None:
    run(["-m", "reproduce", "demo", "--output", tmp_path, "--limit", "25"])
    table = run(["-m", "reproduce.compare", tmp_path])
    [row] = [line for line in table.splitlines() if line.startswith("| demo |")]
    assert len(re.findall(r"-, \d+\.\d\d ± \d+\.\d\d\*", row)) == 2
