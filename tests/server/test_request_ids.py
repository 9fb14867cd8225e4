"""X-Request-Id comes back from everywhere, and every line about a request has it."""

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.choices import BASE, NAMES, trio
from tests.support.client import Answer, ask, generate, one
from tests.support.examples import examples
from tests.support.fake_service import fake_config, fakes_for, ready, until
from tests.support.json_log import json_log
from tests.support.trios import DEFINITIONS

SECRET = "xylophone"
DRAWN = re.compile("[0-9a-f]{16}")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with ready(trio(server={"max_body_bytes": 10_000})) as url:
        yield url


def post(url: str, body: Any, request_id: str | None, path: str = "/api/generate") -> Answer:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    if request_id is not None:
        headers["X-Request-Id"] = request_id
    return ask(url, "POST", path, data, headers)


def id_of(answer: Answer) -> str:
    return answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("status", "body", "path"),
    [
        (200, BASE, "/api/generate"),
        (400, {**BASE, "top_p": 7}, "/api/generate"),
        (400, {**BASE, "top_p": 7, "stream": True}, "/api/generate"),
        (400, b"{", "/api/generate"),
        (400, {"messages": []}, "/v1/chat/completions"),
        (404, BASE, "/nowhere"),
        (405, BASE, "/metrics"),
        (413, b"x" * 20_000, "/api/generate"),
    ],
)
def test_every_response_has_the_id(url: str, status: int, body: Any, path: str) -> None:
    answer = post(url, body, "mine-1", path)
    assert (answer.status, id_of(answer)) == (status, "mine-1")
    drawn = post(url, body, None, path)
    assert drawn.status == status and DRAWN.fullmatch(id_of(drawn))


def test_failures_have_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    fakes = fakes_for()
    fakes.on_extend(lambda batch: 1 / 0)
    with ready(fakes) as url:
        failed = post(url, BASE, "mine-2")
        assert (failed.status, id_of(failed)) == (500, "mine-2")

        def defect(*args: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr("gac.server.intake.prepare", defect)
        with json_log() as log:
            unexpected = post(url, BASE, "mine-3")
            assert (unexpected.status, id_of(unexpected)) == (500, "mine-3")
            assert unexpected.error["message"].startswith("internal error")
            assert until(lambda: log.about("mine-3"))
        [line] = log.about("mine-3")
        assert line["logger"] == "uvicorn.error" and "ZeroDivisionError" in line["exception"]


VISIBLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=128)


@examples(20)
@given(VISIBLE)
def test_visible_ascii_is_honoured(url: str, request_id: str) -> None:
    assert id_of(post(url, {**BASE, "max_new_tokens": 1}, request_id)) == request_id


@pytest.mark.parametrize("sent", ["", " ", "a b", "x" * 129, "na\u00efve", "a\tb", "\x7f"])
def test_anything_else_gets_an_id_of_ours(url: str, sent: str) -> None:
    answer = post(url, {**BASE, "max_new_tokens": 1}, sent)
    assert answer.status == 200
    assert DRAWN.fullmatch(id_of(answer))


def test_one_id_for_many_requests_at_once_mixes_nothing_up(url: str) -> None:
    bodies = [one("the cat " * (n % 4 + 1), max_new_tokens=5 + n) for n in range(12)]
    alone = [post(url, body, None).body["response"] for body in bodies]
    with ThreadPoolExecutor(12) as pool:
        together = list(pool.map(lambda body: post(url, body, "same").body["response"], bodies))
    assert together == alone


@pytest.mark.slow
@pytest.mark.parametrize("request_id", ["mine.4-x", "100%s", "{x}", None])
def test_every_line_about_a_request_has_its_id(request_id: str | None) -> None:
    """Those of the engine's thread, too: an eviction, and a defect's traceback."""
    engine = {"kv_cache_tokens": 256}
    config = fake_config(NAMES, engine=engine, server={"access_log": True})
    fakes = fakes_for(config, definitions=DEFINITIONS, end_bias=-50.0, max_kv_tokens=256)
    several = {**BASE, "messages_list": BASE["messages_list"] * 4, "max_new_tokens": 90}
    with ready(fakes) as url, json_log() as log:
        answer = post(url, {**several, "ignore_eos": True}, request_id)
        assert answer.status == 200
        name = id_of(answer)
        assert request_id in (None, name)
        assert until(lambda: any(line.get("event") == "access" for line in log.about(name)))
    lines = log.about(name)
    events = {line.get("event", line["logger"]) for line in lines}
    assert events == {"end", "access", "gac.engine.engine"}
    assert sum(line["message"].endswith("evicted, to be computed again") for line in lines) > 0
    others = [line for line in log.lines if line not in lines]
    assert {line.get("event") for line in others} <= {"activity", None}
    assert not any(line.get("event") is None and name in line["message"] for line in others)


def test_a_defect_s_traceback_has_the_id() -> None:
    with ready(fakes_for()) as url, json_log() as log:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("gac.engine.sequence.Sequence.go_on", lambda self: 1 / 0)
            assert post(url, BASE, "mine-5").status == 500
            assert until(lambda: len(log.about("mine-5")) == 2)
    for line, logger in zip(
        log.about("mine-5"), ("gac.engine.engine", "uvicorn.error"), strict=True
    ):
        assert (line["logger"], line["level"]) == (logger, "error")
        assert "ZeroDivisionError" in line["exception"]


def test_fields_are_those_of_the_answer(url: str) -> None:
    body = {**BASE, "messages_list": BASE["messages_list"] * 2, "strategy": "every_step"}
    with json_log() as log:
        answer = post(url, body, "mine-6").body
        assert until(lambda: log.about("mine-6"))
    [line] = log.about("mine-6")
    assert line["event"] == "end" and line["logger"] == "gac.server.request_log"
    assert (line["num_texts"], line["num_tokens"]) == (2, answer["num_tokens"])
    assert line["strategy"] == "every_step" and line["ensembled_ratio"] == 1.0
    assert line["finished_by"] == "length (2)" and line["level"] == "info"
    assert 0 < line["first_s"] < line["seconds"]
    assert line["tokens_per_s"] == pytest.approx(line["num_tokens"] / line["seconds"])
    assert line["message"].startswith("request mine-6: every_step, 2 texts, ")
    assert abs(time.time() - datetime.fromisoformat(line["time"]).timestamp()) < 60


def test_refusals_say_their_field_and_code(url: str) -> None:
    with json_log() as log:
        post(url, {**BASE, "top_p": 7}, "mine-7")
        assert until(lambda: log.about("mine-7"))
    [line] = log.about("mine-7")
    assert (line["event"], line["status"], line["param"]) == ("refused", 400, "top_p")
    assert line["code"] == "invalid_request_error"


def test_access_log_is_written_where_it_is_asked_for(url: str) -> None:
    config = fake_config(server={"access_log": True})
    with ready(fakes_for(config)) as other, json_log() as log:
        ask(other, "GET", f"/nowhere?{SECRET}=1", headers={"X-Request-Id": "mine-8"})
        generate(url, {**BASE, "max_new_tokens": 1})
        assert until(lambda: len(log.about("mine-8")) == 2)
    [line] = [line for line in log.lines if line.get("event") == "access"]
    assert (line["method"], line["path"], line["status"]) == ("GET", "/nowhere", 404)
    assert line["client"] == "127.0.0.1" and line["seconds"] >= 0
    assert SECRET not in log.stream.getvalue()


def test_neither_prompts_nor_answers_are_in_it(url: str) -> None:
    with json_log() as log:
        body = one(SECRET, max_new_tokens=20, ignore_eos=True)
        text = post(url, body, "mine-9").body["response"][0]
        assert until(lambda: log.about("mine-9"))
    assert SECRET not in log.stream.getvalue()
    assert json.dumps(text)[1:-1] not in log.stream.getvalue()
