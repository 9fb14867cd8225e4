"""Traces over HTTP: what they hold, who gets one, and that they are enough to write it again."""

import gc
import json
import threading
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from pydantic_core import to_json

from gac import __version__
from gac.config import EveryStepConfig
from gac.core import GenerateRequest, TokenEvent
from gac.decoding.strategies import StrategyMaker
from gac.engine.client_request import ClientRequest
from gac.engine.writer import write
from gac.errors import TraceError
from gac.server import answers, intake
from gac.server.trace_budget import TraceBudget, traced_bytes
from gac.server.traces import read_traces, token_record
from tests.support.choices import BASE, CHOICES, NAMES, TRIO, WARM, body_of, refusal, trio
from tests.support.client import generate, get, one, streamed
from tests.support.collect import Running
from tests.support.fake_service import Fakes, fake_config, fakes_for, ready, until
from tests.support.fakes import fake_ensemble, prompt_for

SAFE = {"name": "safe", "drafter": "bora", "consensus": 0.2}
TOKEN_FIELDS = {
    "text",
    "bytes",
    "outcome",
    "why",
    "asked",
    "owners",
    "agreement",
    "rejected",
    "members",
    "combined",
    "verdicts",
}


@pytest.fixture(scope="module")
def fakes() -> Fakes:
    return trio()


@pytest.fixture(scope="module")
def url(fakes: Fakes) -> Iterator[str]:
    with ready(fakes) as url:
        yield url


def traces(url: str, body: Any, **fields: Any) -> list[dict[str, Any]]:
    return body_of(url, {**body, "trace": True, **fields})["trace"]


def test_nobody_gets_a_trace_unasked(url: str) -> None:
    for fields in ({}, {"trace": False}, {"trace": None}):
        assert "trace" not in body_of(url, {**BASE, **fields})


def test_trace_says_what_it_promises(url: str, fakes: Fakes) -> None:
    answer = body_of(url, {**BASE, "trace": True})
    [trace] = answer["trace"]
    assert trace["version"] == __version__
    assert trace["union"] == fakes.members.ensemble.union.fingerprint
    assert trace["members"] == list(NAMES)
    assert trace["weights"] == pytest.approx(dict.fromkeys(NAMES, 1 / 3))
    assert trace["finish_reason"] == answer["finish_reasons"][0] == "length"
    assert trace["end"] is None
    assert len(trace["tokens"]) == answer["num_tokens"] == 16
    for token in trace["tokens"]:
        assert set(token) == TOKEN_FIELDS
        assert (token["outcome"], token["why"]) == ("ensembled", "all_asked")
        assert token["asked"] == [member["member"] for member in token["members"]] == list(NAMES)
        assert set(token["owners"]) <= set(NAMES)
        assert token["combined"][0]["bytes"] == token["bytes"]
        assert token["rejected"] is None and token["verdicts"] == []
        for member in token["members"]:
            assert set(member) == {"member", "weight", "confidence", "top"}
            assert set(member["top"][0]) == {"text", "bytes", "probability"}
        for spelled in [token, *token["combined"]]:
            assert bytes(spelled["bytes"]).decode("utf-8", "replace") == spelled["text"]
    written = b"".join(bytes(token["bytes"]) for token in trace["tokens"])
    assert [written.decode("utf-8", "replace")] == answer["response"]


@pytest.mark.parametrize(("wanted", "count"), [(True, 5), (1, 1), (20, 20)])
def test_number_says_how_many_candidates(url: str, wanted: Any, count: int) -> None:
    for token in traces(url, BASE, trace=wanted)[0]["tokens"]:
        assert len(token["combined"]) == count
        assert {len(member["top"]) for member in token["members"]} == {count}


@pytest.mark.parametrize("wrong", [0, 21, -1, 5.0, "x", "true", [5], {}])
def test_anything_else_is_400(url: str, wrong: Any) -> None:
    assert refusal(url, trace=wrong)["param"] == "trace"


def test_traces_too_large_to_hold_are_400_before_anything_is_written(
    url: str, fakes: Fakes
) -> None:
    finished = fakes.service.engine.metrics.finished
    error = refusal(url, messages_list=BASE["messages_list"] * 4, trace=20, max_new_tokens=8000)
    assert error["param"] == "trace"
    assert error["message"] == (
        "trace: 4 texts x max_new_tokens 8000 with trace 20 and 3 members may take 904 MiB "
        "of memory, the limit is 256; lower one of them"
    )
    assert fakes.service.engine.metrics.finished == finished
    fewer = one("the cat", trace=20, max_new_tokens=8000, members=["ada"], until=[" ", "e"])
    assert generate(url, fewer).status == 200


def test_traces_of_all_answers_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two fit, the third is told to come again, and does when one has ended."""
    monkeypatch.setattr(intake, "TraceBudget", lambda: TraceBudget(2_000_000))
    fakes = trio()
    release = threading.Event()
    fakes.on_extend(lambda batch: release.wait(20.0))
    body = {**BASE, "trace": 5, "max_new_tokens": 80}
    with ready(fakes) as url, ThreadPoolExecutor(2) as pool:
        holding = [pool.submit(generate, url, body) for _ in range(2)]
        assert until(lambda: get(url, "/status").body["num_running"] == 2)
        refused = generate(url, body)
        untraced = pool.submit(generate, url, {**body, "trace": False})
        release.set()
        assert {one.result().status for one in (*holding, untraced)} == {200}
        assert generate(url, body).status == 200
    assert refused.status == 429
    assert refused.headers["retry-after"]
    assert (refused.error["code"], refused.error["param"]) == ("traces_overloaded", "trace")
    assert refused.error["message"].startswith("trace: the traces of this answer may take 1 MiB")


@pytest.mark.slow
@pytest.mark.parametrize(("names", "count"), [(NAMES, 1), (NAMES, 20), (("ada", "bora"), 5)])
def test_budget_is_what_a_trace_takes(names: tuple[str, ...], count: int) -> None:
    """Of what is held; its JSON is reckoned with three times its length."""
    definitions = {name: TRIO[name] for name in names}
    fakes = fake_ensemble(definitions, max_context=100_000, end_bias=-50.0)
    asked = ClientRequest(messages_list=["the"], max_new_tokens=400, trace=count)
    request = GenerateRequest("r", prompt_for(fakes, "the"), 400, ignore_eos=True, trace=count)
    with Running(fakes.ensemble, StrategyMaker(EveryStepConfig())) as running:
        write(running.engine, [replace(request, request_id="warm", max_new_tokens=9)])
        gc.collect()
        tracemalloc.start()
        try:
            events = [e for e in running.engine.stream([request]) if isinstance(e, TokenEvent)]
            gc.collect()
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    fakes.close()
    written = len(to_json([token_record(event) for event in events]))
    assert 0.6 < (held + 3 * written) / traced_bytes(asked, len(names)) < 1.1


def test_large_answers_are_built_on_a_worker(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the event loop, a large one would keep everybody waiting."""
    names = []
    build = answers.conversation_trace
    dump = answers.to_json

    def noted(act: Any) -> Any:
        def noting(*given: Any) -> Any:
            names.append(threading.current_thread().name)
            return act(*given)

        return noting

    monkeypatch.setattr(answers, "conversation_trace", noted(build))
    monkeypatch.setattr(answers, "to_json", noted(dump))
    assert len(traces(url, BASE)) == 1
    assert len(names) == 2
    streamed(url, {**BASE, "trace": True})
    assert len(names) > 10
    assert {name[:12] for name in names} == {"AnyIO worker"}


def test_safe_says_what_was_rejected(url: str) -> None:
    [trace] = traces(url, BASE, strategy=SAFE, max_new_tokens=60)
    outcomes = {token["outcome"] for token in trace["tokens"]}
    assert {"drafted", "replaced"} <= outcomes
    for token in trace["tokens"]:
        assert (token["outcome"] == "replaced") is (token["rejected"] is not None)


def test_end_is_traced_where_it_was_picked() -> None:
    with ready(fakes_for(fake_config(NAMES), definitions=TRIO, end_bias=6.0)) as url:
        [trace] = traces(url, BASE)
    assert trace["finish_reason"] == "stop"
    assert trace["end"]["bytes"] == [] == trace["end"]["combined"][0]["bytes"]


@pytest.mark.parametrize("fields", [*CHOICES, {"strategy": SAFE}], ids=str)
def test_every_conversations_request_writes_it_again(url: str, fields: dict[str, Any]) -> None:
    """By itself, with its own seed, and with nothing left to what the server has configured."""
    both = [*BASE["messages_list"], [{"role": "user", "content": "at the"}]]
    body = {**BASE, "temperature": 1.0, **fields, "messages_list": both}
    if isinstance(fields.get("strategy"), dict) and "conflict_guard" in fields["strategy"]:
        body["temperature"] = 0.0
    body.pop("seed", None)
    answer = body_of(url, {**body, "trace": 2})
    for text, trace in zip(answer["response"], answer["trace"], strict=True):
        again = body_of(url, trace["request"])
        assert again["response"] == [text]
        assert again["trace"] == [trace]
        assert trace["request"]["strategy"]["name"]
        assert set(trace["request"]) >= {"messages_list", "seed", "max_new_tokens", "min_p"}


def test_other_servers_strategy_is_not_needed(url: str) -> None:
    gate = {"name": "threshold", "gate": "bora", "threshold": 0.25, "aggregation": "min"}
    with ready(trio(strategy=gate)) as own:
        [trace] = traces(own, WARM)
        assert traces(url, trace["request"]) == [trace]


def test_what_is_read_is_what_was_written(url: str) -> None:
    answer = body_of(url, {**BASE, "trace": 3, "strategy": SAFE, "until": ["zz"]})
    [trace] = read_traces(json.dumps(answer).encode())
    assert json.loads(trace.model_dump_json()) == answer["trace"][0]
    assert read_traces(json.dumps(answer["trace"][0]).encode()) == [trace]


def broken(answer: Any, how: str) -> Any:
    trace = answer["trace"][0]
    if how == "field":
        del trace["union"]
    elif how == "byte":
        trace["tokens"][1]["bytes"] = [256]
    elif how == "request":
        trace["request"]["temperature"] = "hot"
    elif how == "two":
        trace["request"]["messages_list"] *= 2
    elif how == "empty":
        answer["trace"] = []
    elif how == "off":
        del answer["trace"]
    elif how == "value":
        trace["tokens"][0]["combined"][0]["value"] = float("nan")
    return answer


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("field", "trace[0].union: Field required"),
        ("byte", "trace[0].tokens.1.bytes.0: Input should be less than or equal to 255"),
        ("request", "trace[0].request.temperature: "),
        ("two", "trace[0]: must hold exactly one conversation"),
        ("empty", 'if the request has "trace": true'),
        ("off", 'if the request has "trace": true'),
        ("value", "trace[0].tokens.0.combined.0.value: "),
    ],
)
def test_what_is_no_trace_is_said(url: str, how: str, words: str) -> None:
    answer = broken(body_of(url, {**BASE, "trace": 1}), how)
    with pytest.raises(TraceError) as raised:
        read_traces(json.dumps(answer).encode())
    assert words in raised.value.message


@pytest.mark.parametrize(
    "text", [b"", b"{", b"\xff", b"[1]", b"3", b"[" * 100_000, b'{"trace": 3}']
)
def test_what_is_no_json_object_is_said(text: bytes) -> None:
    with pytest.raises(TraceError):
        read_traces(text)


def test_refused_request_is_refused_with_a_trace_too(url: str) -> None:
    assert generate(url, {**BASE, "trace": True, "members": ["x"]}).status == 400
