"""Traces over HTTP: what they hold, who gets one, and that they are enough to write it again."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from gac import __version__
from gac.errors import TraceError
from gac.server import gac_routes
from gac.server.traces import read_traces
from tests.support.choices import BASE, CHOICES, NAMES, TRIO, WARM, body_of, refusal, trio
from tests.support.client import generate, one
from tests.support.fake_service import Fakes, fake_config, fakes_for, ready

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
    error = refusal(url, messages_list=BASE["messages_list"] * 4, trace=20, max_new_tokens=3126)
    assert error["param"] == "trace"
    assert error["message"] == (
        "trace: 4 conversations x max_new_tokens 3126 x trace 20 x 4 (members + 1) = 1000320 "
        "candidates exceed the limit of 1000000; lower one of them"
    )
    assert fakes.service.engine.metrics.finished == finished
    at_limit = one("the cat", trace=20, max_new_tokens=3125, members=["ada"], until=[" ", "e"])
    at_limit["messages_list"] *= 4
    assert generate(url, at_limit).status == 200


def test_traces_are_built_on_a_worker(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the event loop, a large one would keep everybody waiting."""
    names = []
    build = gac_routes.conversation_trace

    def noted(*given: Any) -> Any:
        names.append(threading.current_thread().name)
        return build(*given)

    monkeypatch.setattr(gac_routes, "conversation_trace", noted)
    assert len(traces(url, BASE)) == len(names) == 1
    assert names[0].startswith("AnyIO worker")


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
        ("two", "trace[0]: must be of one conversation"),
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
