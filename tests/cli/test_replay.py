"""A saved trace run again by the command line, on demo members in this process."""

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from gac.cli.main import main
from gac.config import load_config
from gac.engine.service import Service
from tests.support.client import generate, one
from tests.support.fake_service import serving
from tests.support.server_process import demo_config

ASKED = one("What is the capital of Norway?", max_new_tokens=16, apply_chat_template=True)

PENALTIES = {
    "presence_penalty": 1.5,
    "frequency_penalty": 0.5,
    "repetition_penalty": 1.3,
    "logit_bias": {"40": 20.0, "50": 21.0, "60": -100.0},
}


@pytest.fixture(autouse=True)
def unchanged_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.setswitchinterval", lambda seconds: None)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return demo_config(tmp_path_factory.mktemp("config"), ray={"enabled": False})


@pytest.fixture(scope="module")
def answers(config: Path) -> Iterator[dict[str, Any]]:
    """Of a real server: two greedy conversations, a SAFE sample, and a gate without END."""
    other = [{"role": "user", "content": "Which city is the capital of France?"}]
    service = Service(load_config(config))
    with serving(service) as url:
        assert service.wait(60.0)
        bodies = {
            "two": {**ASKED, "messages_list": [*ASKED["messages_list"], other]},
            "safe": {**ASKED, "strategy": "safe", "temperature": 1.2},
            "gate": {**ASKED, "strategy": "threshold", "threshold": 0.97, "max_new_tokens": 3},
            "penalised": {**ASKED, "temperature": 1.0, "seed": 3, **PENALTIES},
        }
        yield {name: generate(url, {**body, "trace": True}).body for name, body in bodies.items()}


def replay(folder: Path, config: Path, answer: Any) -> int:
    path = folder / "trace.json"
    path.write_text(answer if isinstance(answer, str) else json.dumps(answer), "utf-8")
    return main(["replay", str(path), "--config-path", str(config)])


@pytest.mark.parametrize("name", ["two", "safe", "gate", "penalised"])
def test_replay_of_a_real_answer_is_identical(name, answers, config, tmp_path, capsys) -> None:
    assert replay(tmp_path, config, answers[name]) == 0
    lines = [f"identical: {len(trace['tokens'])} tokens" for trace in answers[name]["trace"]]
    if name == "two":
        lines = ["conversation 0:", lines[0], "conversation 1:", lines[1]]
    assert capsys.readouterr().out.splitlines() == lines


def test_answer_of_the_openai_api_is_read_too(answers, config, tmp_path, capsys) -> None:
    [trace] = answers["gate"]["trace"]
    chat = {"choices": [{"index": 0, "gac": {"trace": trace}}, {"gac": None}, 5]}
    assert replay(tmp_path, config, chat) == 0
    assert capsys.readouterr().out == f"identical: {len(trace['tokens'])} tokens\n"
    for none in ([], None, [{"gac": {}}]):
        assert replay(tmp_path, config, {"choices": none}) == 2
        assert "holds no trace" in capsys.readouterr().err


def test_penalties_are_part_of_a_trace(answers, config, tmp_path, capsys) -> None:
    trace = deepcopy(answers["penalised"]["trace"][0])
    assert {name: trace["request"][name] for name in PENALTIES} == PENALTIES
    trace["request"].update(dict.fromkeys(("presence_penalty", "frequency_penalty"), 0.0))
    trace["request"].update(repetition_penalty=1.0, logit_bias=None)
    assert replay(tmp_path, config, trace) == 1, "without them it is another text"


def test_operator_is_bound_by_no_limit_of_the_server(answers, config, tmp_path, capsys) -> None:
    """A server may give a trace of few candidates a token; replay looks at many of each."""
    trace = deepcopy(answers["two"]["trace"][0])
    trace["request"]["max_new_tokens"] = 60_000
    assert replay(tmp_path, config, trace) == 0
    assert capsys.readouterr().out == f"identical: {len(trace['tokens'])} tokens\n"


def test_doctored_token_is_found_with_its_margin(answers, config, tmp_path, capsys) -> None:
    trace = deepcopy(answers["two"]["trace"][0])
    tokens = trace["tokens"]
    best, second = tokens[3]["combined"][:2]
    tokens[3].update(text=second["text"], bytes=second["bytes"])
    trace["union"] = "0" * 16
    assert replay(tmp_path, config, trace) == 1
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("different union vocabulary: recorded 0000000000000000; here ")
    before = "".join(token["text"] for token in tokens[:3])
    assert out[1:4] == [
        f"diverged at token 3, after {before!r}",
        f"  recorded: {second['text']!r}",
        f"  now:      {best['text']!r}",
    ]
    assert out[4].startswith("  margin now: ") and out[5].startswith("  margin recorded: ")
    low = best["value"] - second["at_most"]
    assert float(out[4].split(":")[1].split()[0]) == pytest.approx(low, rel=0.01)
    assert float(out[5].split(":")[1].split()[0]) <= 0.0


def test_other_end_is_found(answers, config, tmp_path, capsys) -> None:
    ended = deepcopy(answers["two"]["trace"][0])
    assert ended["end"] is not None
    count = len(ended["tokens"])
    cut = {**ended, "end": None, "finish_reason": "length"}
    assert replay(tmp_path, config, cut) == 1
    out = capsys.readouterr().out
    assert f"diverged at token {count}, " in out
    assert "recorded: no more, finish reason 'length'\n  now:      END\n" in out
    assert "margin" not in out


def test_what_cannot_be_run_again_is_exit_2(answers, config, tmp_path, capsys) -> None:
    [trace] = deepcopy(answers["safe"]["trace"])
    trace["request"]["strategy"]["drafter"] = "cleo"
    assert replay(tmp_path, config, trace) == 2
    assert "'cleo' is not allowed; must be 'ada' or 'bora'" in capsys.readouterr().err
    trace["request"]["members"], trace["members"] = ["ada", "x"], ["ada", "x"]
    assert replay(tmp_path, config, trace) == 2
    printed = capsys.readouterr()
    assert printed.out == "different members: recorded ada, x; here ada, bora\n"
    assert "'x' is no member" in printed.err


@pytest.mark.parametrize("text", ["{", "[]", '{"response": ["x"]}', '{"trace": null}'])
def test_unusable_file_is_exit_2_before_anything_is_loaded(text, config, tmp_path, capsys) -> None:
    assert replay(tmp_path, config, text) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"error: {tmp_path}/trace.json: ")


def test_missing_file_is_exit_2(config, tmp_path, capsys) -> None:
    assert main(["replay", f"{tmp_path}/none.json", "--config-path", str(config)]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path}/none.json: No such file or directory\n"
