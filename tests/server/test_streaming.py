"""`"stream": true`: the same text in pieces, errors with their status, and nobody outstays."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.choices import BASE, trio
from tests.support.client import (
    Answer,
    ServerSent,
    generate,
    get,
    one,
    open_stream,
    server_sent,
    streamed,
)
from tests.support.fake_service import Fakes, fakes_for, ready, until

TIMES = ("total_time", "num_tokens_per_sec")
SEVERAL = {
    "messages_list": [[{"role": "user", "content": text}] for text in ("the", "cat the", "é")],
    "max_new_tokens": 40,
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with ready(trio()) as url:
        yield url


def untimed(answer: dict[str, Any]) -> dict[str, Any]:
    assert all(answer[key] > 0 for key in TIMES)
    return {key: value for key, value in answer.items() if key not in TIMES}


def pieces_of(events: list[ServerSent], index: int) -> list[dict[str, Any]]:
    return [event.data for event in events[:-1] if event.data["index"] == index]


def joined(events: list[ServerSent], count: int) -> list[str]:
    return ["".join(piece["text"] for piece in pieces_of(events, n)) for n in range(count)]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"temperature": 1.3, "seed": 4},
        {"until": ["t", "zz"], "temperature": 1.0, "seed": 2},
        {"strategy": "safe"},
        {"trace": 3, "temperature": 1.0, "seed": 3},
    ],
    ids=str,
)
def test_pieces_joined_are_the_text_and_the_last_event_is_the_answer(url: str, fields: Any) -> None:
    body = {**SEVERAL, **fields}
    whole = generate(url, body).body
    events = streamed(url, body)
    assert [event.name for event in events] == ["message"] * (len(events) - 1) + ["end"]
    assert joined(events, 3) == whole["response"]
    assert untimed(events[-1].data) == untimed(whole)
    assert all(event.data["text"] or "trace" in fields for event in events[:-1])
    assert len(events) > 3 + 5


def test_trace_comes_with_its_token(url: str) -> None:
    body = {**SEVERAL, "trace": 2, "temperature": 1.0, "seed": 1}
    events = streamed(url, body)
    for index, trace in enumerate(events[-1].data["trace"]):
        records = [piece["trace"] for piece in pieces_of(events, index) if "trace" in piece]
        assert records == trace["tokens"] + ([trace["end"]] if trace["end"] else [])


@pytest.mark.parametrize(
    ("change", "param"),
    [({"top_p": 7}, "top_p"), ({"stream": 1}, "stream"), ({"members": ["x"]}, "members")],
    ids=str,
)
def test_error_before_the_first_byte_has_its_status(url: str, change: Any, param: str) -> None:
    answer = generate(url, {**BASE, "stream": True, **change})
    assert (answer.status, answer.error["param"]) == (400, param)


def failing(after: int) -> Fakes:
    """Members of which one fails after so many batches."""
    fakes = fakes_for(end_bias=-20.0, max_context=100_000)
    fakes.fail_after(after)
    return fakes


def test_error_of_the_engine_before_the_first_byte_has_its_status() -> None:
    with ready(failing(after=0)) as url:
        answer = generate(url, {**BASE, "stream": True})
        assert (answer.status, answer.headers["content-type"]) == (500, "application/json")
        assert "out of luck" in answer.error["message"]


def test_error_later_is_an_event_with_the_one_body() -> None:
    with ready(failing(after=50)) as url:
        events = streamed(url, {**BASE, "max_new_tokens": 500})
        assert [event.name for event in events] == ["message"] * (len(events) - 1) + ["error"]
        assert len(events) > 5
        assert "out of luck" in Answer(500, {}, events[-1].data).error["message"]


def test_pings_come_while_nothing_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gac.server.responses.PING_S", 0.02)
    fakes = fakes_for(end_bias=-20.0)
    release = threading.Event()
    fakes.on_extend(lambda batch: release.wait(20.0))
    with ready(fakes) as url:
        connection, response = open_stream(url, {**BASE, "max_new_tokens": 3})
        events = server_sent(response)
        assert [next(events).name for _ in range(3)] == [""] * 3
        release.set()
        rest = [event for event in events if event.name]
        connection.close()
        assert rest[-1].name == "end"
        assert joined(rest, 1) == rest[-1].data["response"]


def test_client_that_leaves_takes_its_sequences_with_it() -> None:
    fakes = fakes_for(end_bias=-20.0, max_context=100_000)
    fakes.on_extend(lambda batch: time.sleep(0.002))
    with ready(fakes) as url:
        connection, response = open_stream(url, {**SEVERAL, "max_new_tokens": 8000})
        events = server_sent(response)
        assert next(events).name == "message"
        response.close()
        connection.close()
        assert until(lambda: get(url, "/status").body["num_running"] == 0)
        assert get(url, "/status").body["num_aborted"] == 3


@pytest.mark.slow
def test_client_that_does_not_read_is_held_back_and_gets_all_in_the_end(monkeypatch) -> None:
    """What the sockets between hold is bounded, too, so the engine has to wait."""
    monkeypatch.setattr("gac.engine.stream.EVENTS_PER_TEXT", 8)
    fakes = fakes_for(end_bias=-50.0, max_context=100_000)
    body = one("the cat", max_new_tokens=1500, ignore_eos=True, trace=20)
    with ready(fakes) as url:
        engine = fakes.service.engine
        connection, response = open_stream(url, body)
        events = server_sent(response)
        assert next(events).name == "message"
        slow, seen = engine.metrics, -1
        while slow.tokens != seen:  # until nothing moves any more
            seen = slow.tokens
            time.sleep(1.0)
        assert engine.num_running == 1, "all of it went into the sockets"
        assert generate(url, one("cat", max_new_tokens=20, ignore_eos=True)).status == 200
        rest = list(events)
        connection.close()
    assert rest[-1].name == "end"
    assert rest[-1].data["num_tokens"] == 1500


def test_end_of_the_server_is_an_error_event() -> None:
    fakes = fakes_for(end_bias=-20.0, max_context=100_000)
    fakes.on_extend(lambda batch: time.sleep(0.005))
    with ThreadPoolExecutor(1) as pool:
        with ready(fakes) as url:
            asking = pool.submit(streamed, url, {**BASE, "max_new_tokens": 8000})
            assert until(lambda: get(url, "/status").body["num_running"] == 1)
            assert until(lambda: fakes.service.engine.metrics.tokens > 3)
        last = asking.result()[-1]
    assert last.name == "error"
    assert last.data["error"]["message"] == "the server is shutting down"


def test_many_streams_at_once_write_what_each_writes_alone(url: str) -> None:
    bodies = [one("the cat " * (n % 4 + 1), max_new_tokens=5 + n) for n in range(24)]
    alone = [generate(url, body).body["response"] for body in bodies]
    with ThreadPoolExecutor(24) as pool:
        together = list(pool.map(lambda body: joined(streamed(url, body), 1), bodies))
    assert together == alone
