"""Any JSON at all gets an answer or the one error body, and never a status of 5xx."""

import json
from typing import Any

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from tests.support.bodies import ANYTHING, EDGES, MEMBERS, WORDS, mostly
from tests.support.client import ask
from tests.support.examples import examples
from tests.support.openai_client import CHAT, JSON, TEXT, lines_of, open_stream, post

PENALTIES = st.sampled_from([-2.0, 0.0, 1e-320, 2.0])
BIASES = st.dictionaries(st.sampled_from(["0", "97", "258", "99999", "x"]), PENALTIES, max_size=2)
CONTENTS = st.one_of(
    WORDS,
    st.none(),
    st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": WORDS}), max_size=2),
)
ROLES = st.sampled_from(["user", "user", "assistant", "system", "developer", "tool"])
MESSAGES = st.fixed_dictionaries({"role": mostly(ROLES), "content": mostly(CONTENTS)})
IDS = st.lists(st.integers(-1, 400), max_size=4)
OWN = st.fixed_dictionaries(
    {},
    optional={
        "strategy": mostly(st.sampled_from([None, "every_step", "threshold", "safe"])),
        "threshold": mostly(st.sampled_from([None, *EDGES])),
        "weights": mostly(st.dictionaries(MEMBERS, st.sampled_from(EDGES), max_size=2)),
        "aggregation": mostly(st.sampled_from(["min", "core"])),
        "members": mostly(st.lists(MEMBERS, max_size=2)),
        "trace": mostly(st.sampled_from([None, False, True, 20])),
    },
)
SHARED = {
    "model": mostly(st.sampled_from(["gac", "gac/ada", "gac/x", ""])),
    "min_tokens": mostly(st.integers(0, 3)),
    "stop": mostly(st.one_of(WORDS, st.lists(WORDS, max_size=3))),
    "temperature": mostly(st.sampled_from([*EDGES, 100, 1])),
    "top_k": mostly(st.sampled_from([-1, 0, 1, 10**30])),
    "top_p": mostly(st.sampled_from(EDGES[1:])),
    "min_p": mostly(st.sampled_from(EDGES)),
    "seed": mostly(st.one_of(st.none(), st.integers(-(2**63), 2**64 - 1))),
    "ignore_eos": mostly(st.booleans()),
    "n": mostly(st.integers(1, 3)),
    "presence_penalty": mostly(PENALTIES),
    "frequency_penalty": mostly(PENALTIES),
    "repetition_penalty": mostly(st.sampled_from([1e-320, 0.5, 1, 10])),
    "logit_bias": mostly(BIASES),
    "gac": mostly(OWN),
    "response_format": mostly(st.just({"type": "text"})),
    "user": ANYTHING,
    "\ud800, \r\n": ANYTHING,
}
CHATS = st.fixed_dictionaries(
    {
        "messages": mostly(st.lists(MESSAGES, min_size=1, max_size=3)),
        "max_tokens": mostly(st.integers(3, 8)),
    },
    optional={
        **SHARED,
        "max_completion_tokens": mostly(st.none()),
        "logprobs": mostly(st.booleans()),
        "top_logprobs": mostly(st.integers(0, 20)),
        "tools": mostly(st.just([])),
    },
)
TEXTS = st.fixed_dictionaries(
    {
        "prompt": mostly(st.one_of(WORDS, st.lists(WORDS, min_size=1, max_size=2), IDS)),
        "max_tokens": mostly(st.integers(0, 8)),
    },
    optional={
        **SHARED,
        "logprobs": mostly(st.one_of(st.none(), st.integers(0, 20))),
        "echo": mostly(st.booleans()),
        "best_of": mostly(st.none()),
        "suffix": mostly(st.just("")),
    },
)
BODIES = {CHAT: CHATS, TEXT: TEXTS}
BOTH = pytest.mark.parametrize("path", BODIES)


@BOTH
@examples(100)
@given(data=st.data())
def test_any_json_is_answered_or_refused(url: str, path: str, data: st.DataObject) -> None:
    body = data.draw(st.one_of(BODIES[path], BODIES[path], ANYTHING))
    answer = post(url, path, body)
    if answer.status == 200:
        assert answer.body["choices"]
    else:
        assert answer.status in (400, 404), (answer, json.dumps(body))
        assert answer.error["message"]


@BOTH
@examples(30)
@given(data=st.data())
def test_any_stream_ends_with_its_mark(url: str, path: str, data: st.DataObject) -> None:
    body = data.draw(BODIES[path])
    connection, response = open_stream(url, path, body)
    try:
        if response.status == 200:
            assert list(lines_of(response))[-1] == "[DONE]"
        else:
            assert response.status in (400, 404), json.dumps(body)
            assert json.loads(response.read())["error"]["message"]
    finally:
        connection.close()


@BOTH
@examples(30)
@given(body=st.binary(max_size=30))
def test_any_bytes_are_refused(url: str, path: str, body: bytes) -> None:
    answer = ask(url, "POST", path, body, JSON)
    assert answer.status == 400
    assert answer.error["message"]


@BOTH
@pytest.mark.parametrize("status", [200, 400])
def test_all_outcomes_are_reached(url: str, path: str, status: int) -> None:
    """Guards the bodies above: they must not be refused throughout."""
    search = settings(max_examples=1000, phases=[Phase.generate], database=None, deadline=None)
    find(BODIES[path], lambda body: post(url, path, body).status == status, settings=search)


@pytest.mark.slow
@BOTH
@pytest.mark.parametrize(
    "field", ["messages", "prompt", "stop", "\u00e9", "logit_bias", "gac"], ids=ascii
)
def test_million_mistakes_cost_no_more_than_one(url: str, path: str, field: str) -> None:
    body: dict[str, Any] = {"messages": [], "prompt": [], field: [{}] * 300_000}
    if field == "\u00e9":
        body = {f"{field}{n}": 1 for n in range(100_000)}
    answer = post(url, path, body)
    assert answer.status == 400
    assert len(answer.error["message"]) < 500
