"""POST /api/generate: every field matters, neighbours do not, and nothing outlives its client."""

import http.client
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.client import generate, get, one
from tests.support.fake_service import fake_config, fakes_for, ready, until

BASE = one("the cat", max_new_tokens=12)
SAMPLED = {**BASE, "temperature": 1.0, "seed": 1}


def text(url: str, body: Any) -> str:
    answer = generate(url, body)
    assert answer.status == 200, answer
    [response] = answer.body["response"]
    return response


def test_answer_has_the_promised_fields(url: str) -> None:
    both = [*BASE["messages_list"], [{"role": "user", "content": "é"}]]
    body = generate(url, {**BASE, "messages_list": both}).body
    assert set(body) == {
        "response",
        "total_time",
        "num_tokens",
        "num_tokens_per_sec",
        "finish_reasons",
        "usage",
        "ensembled_token_ratio",
        "abstained_members",
    }
    counts = [usage["completion_tokens"] for usage in body["usage"]]
    assert body["num_tokens"] == sum(counts) == 24
    assert body["num_tokens_per_sec"] == pytest.approx(24 / body["total_time"])
    assert body["finish_reasons"] == ["length", "length"]
    assert body["ensembled_token_ratio"] == [1.0, 1.0]
    assert body["abstained_members"] == [[], []]
    assert set(body["usage"][0]["prompt_tokens"]) == {"ada", "bora"}
    assert body["response"][0] == text(url, BASE)


def test_conversation_without_a_template_is_its_contents_joined_by_newlines(url: str) -> None:
    turns = [{"role": "user", "content": "the"}, {"role": "assistant", "content": "cat"}]
    assert text(url, {**BASE, "messages_list": [turns]}) == text(
        url, one("the\ncat", max_new_tokens=12)
    )


@pytest.mark.parametrize(
    "change",
    [
        {"max_new_tokens": 3},
        {"max_length": 6},
        {"apply_chat_template": True},
        {"temperature": 1.5},
        {"seed": 2},
        {"top_k": 1},
        {"top_p": 0.01},
        {"min_p": 1.0},
    ],
    ids=lambda change: next(iter(change)),
)
def test_field_changes_the_answer(url: str, change: dict[str, Any]) -> None:
    assert text(url, {**SAMPLED, **change}) != text(url, SAMPLED)


def test_seed_repeats_and_no_seed_does_not(url: str) -> None:
    assert text(url, SAMPLED) == text(url, SAMPLED)
    unseeded = {**SAMPLED, "seed": None}
    assert len({text(url, unseeded) for _ in range(4)}) > 1
    several = {**unseeded, "messages_list": SAMPLED["messages_list"] * 4}
    assert len(set(generate(url, several).body["response"])) > 1
    seeded = {**several, "seed": 3}
    assert len(set(generate(url, seeded).body["response"])) == 1


def test_until_cuts_the_answer_off(url: str) -> None:
    whole = text(url, BASE)
    place = len(whole) // 2
    stop = whole[place : place + 2]
    for until_ in (stop, [stop], ["\x01\x02", stop]):
        answer = generate(url, {**BASE, "until": until_}).body
        assert answer["response"] == [whole[: whole.index(stop)]]
        assert answer["finish_reasons"] == ["stop"]


def test_end_can_be_ignored_or_put_off() -> None:
    with ready(fakes_for(end_bias=50.0)) as url:
        assert generate(url, BASE).body["num_tokens"] == 0
        assert generate(url, {**BASE, "min_new_tokens": 5}).body["num_tokens"] == 5
        answer = generate(url, {**BASE, "ignore_eos": True}).body
        assert (answer["num_tokens"], answer["finish_reasons"]) == (12, ["length"])


def test_smallest_context_ends_an_answer(url: str) -> None:
    answer = generate(url, {**BASE, "max_new_tokens": 1000}).body
    assert answer["finish_reasons"] == ["length"]
    longest = max(answer["usage"][0]["prompt_tokens"].values())
    assert 100 < answer["num_tokens"] < 300 - longest + 1


MIXED = [
    one(
        "the cat " * (place % 5 + 1),
        max_new_tokens=10 + place,
        apply_chat_template=bool(place % 2),
        temperature=[0.0, 0.7, 1.3][place % 3],
        top_k=[0, 5][place // 8],
        seed=place,
        **({"until": ["zz", "é"]} if place % 4 == 0 else {}),
    )
    for place in range(16)
]


def test_sixteen_at_once_write_what_each_writes_alone(url: str) -> None:
    alone = [text(url, body) for body in MIXED]
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda body: text(url, body), MIXED))
    assert together == alone
    assert len(set(alone)) > 12


def test_several_conversations_write_what_each_writes_alone(url: str) -> None:
    contents = ["the", "cat the cat", "é"]
    conversations = [[{"role": "user", "content": content}] for content in contents]
    body = {"messages_list": conversations, "max_new_tokens": 9}
    together = generate(url, body).body["response"]
    assert together == [text(url, one(content, max_new_tokens=9)) for content in contents]


def test_client_that_leaves_takes_its_sequences_with_it() -> None:
    fakes = fakes_for(end_bias=-20.0, max_context=100_000)
    fakes.on_extend(lambda batch: time.sleep(0.005))
    body = {**BASE, "max_new_tokens": 8000, "messages_list": BASE["messages_list"] * 3}
    with ready(fakes) as url:
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname, parts.port)
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/api/generate", json.dumps(body), headers)
        assert until(lambda: get(url, "/status").body["num_running"] == 3)
        runners = fakes.members.runners.values()
        assert until(lambda: all(runner.told for runner in runners))
        connection.close()
        assert until(lambda: get(url, "/status").body["num_running"] == 0)
        status = get(url, "/status").body
        assert (status["num_waiting"], status["num_aborted"]) == (0, 3)
        # The members' caches are empty, and nothing is asked any more.
        assert until(lambda: not any(runner.told for runner in runners))
        num_calls = [len(runner.calls) for runner in runners]
        time.sleep(0.1)
        assert [len(runner.calls) for runner in runners] == num_calls
        assert generate(url, {**BASE, "max_new_tokens": 1}).status == 200


def test_request_that_the_end_of_the_server_cuts_short_is_told_so() -> None:
    fakes = fakes_for(end_bias=-20.0, max_context=100_000)
    fakes.on_extend(lambda batch: time.sleep(0.005))
    answers = []
    with ready(fakes) as url:
        asking = threading.Thread(
            target=lambda: answers.append(generate(url, {**BASE, "max_new_tokens": 8000}))
        )
        asking.start()
        assert until(lambda: get(url, "/status").body["num_running"] == 1)
    asking.join()
    [answer] = answers
    assert answer.status == 503
    assert answer.error["message"] == "the server is shutting down"


def test_failing_member_fails_its_requests_and_the_next_ones_work() -> None:
    fakes = fakes_for(fake_config(), end_bias=-20.0)
    failing = threading.Event()

    def fail(batch: Any) -> None:
        if failing.is_set():
            raise RuntimeError("out of luck")

    fakes.on_extend(fail)
    with ready(fakes) as url:
        failing.set()
        answer = generate(url, BASE)
        assert answer.status == 500
        assert answer.error["type"] == "server_error"
        assert "member 'ada' failed: out of luck" in answer.error["message"]
        failing.clear()
        assert generate(url, BASE).status == 200
        assert get(url, "/status").body["num_failed"] == 1
