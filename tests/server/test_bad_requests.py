"""Whatever a client sends gets one clear message, and the next request works."""

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from gac.errors import EngineOverloaded
from gac.server.intake import prepared
from gac.server.schemas import GenerateBody
from gac.server.trace_budget import TraceBudget
from tests.support.client import ask, generate, get, one
from tests.support.fake_service import PLAIN, fake_config, fakes_for, ready, until

SURROGATE = "\ud800"
USER = {"role": "user", "content": "the cat"}
BAD_BODIES: dict[str, tuple[Any, str | None, str]] = {
    "no-conversation": ({"messages_list": []}, "messages_list", "at least 1"),
    "empty-conversation": ({"messages_list": [[]]}, "messages_list[0]", "at least 1"),
    "second-empty": ({"messages_list": [[USER], []]}, "messages_list[1]", "at least 1"),
    "missing-list": ({}, "messages_list", "required"),
    "null-list": ({"messages_list": None}, "messages_list", "list"),
    "flat-list": ({"messages_list": [USER]}, "messages_list[0]", "list"),
    "content-list": (
        {"messages_list": [[{"role": "user", "content": ["a"]}]]},
        "messages_list[0][0].content",
        "string",
    ),
    "content-missing": (
        {"messages_list": [[{"role": "user"}]]},
        "messages_list[0][0].content",
        "required",
    ),
    "role-empty": (
        {"messages_list": [[{"role": "", "content": "a"}]]},
        "messages_list[0][0].role",
        "at least 1",
    ),
    "surrogate-content": (one(SURROGATE), "messages_list[0][0].content", "lone surrogate"),
    "surrogate-role": (
        {"messages_list": [[{"role": SURROGATE, "content": "a"}]]},
        "messages_list[0][0].role",
        "lone surrogate",
    ),
    "surrogate-until": (one("a", until=SURROGATE), "until[0]", "lone surrogate"),
    "surrogate-until-list": (one("a", until=["b", SURROGATE]), "until[1]", "lone surrogate"),
    "surrogate-field": (one("a", **{SURROGATE: 1}), "\\ud800", "unknown field"),
    "unknown-field": (one("a", max_tokens=5), "max_tokens", "unknown field"),
    "unknown-in-message": (
        {"messages_list": [[{**USER, "name": "x"}]]},
        "messages_list[0][0].name",
        "unknown field",
    ),
    "bool-for-int": (one("a", max_new_tokens=True), "max_new_tokens", "integer"),
    "text-for-int": (one("a", max_new_tokens="5"), "max_new_tokens", "integer"),
    "float-for-int": (one("a", top_k=1.5), "top_k", "integer"),
    "null-for-int": (one("a", max_new_tokens=None), "max_new_tokens", "integer"),
    "bool-for-float": (one("a", temperature=True), "temperature", "number"),
    "int-for-bool": (one("a", ignore_eos=1), "ignore_eos", "boolean"),
    "nan": (one("a", temperature=float("nan")), "temperature", "from 0 to 100"),
    "infinity": (one("a", temperature=float("inf")), "temperature", "from 0 to 100"),
    "nan-top-p": (one("a", top_p=float("nan")), "top_p", "at most 1"),
    "top-p-zero": (one("a", top_p=0), "top_p", "above 0"),
    "top-k-negative": (one("a", top_k=-1), "top_k", "at least 0"),
    "seed-too-large": (one("a", seed=2**64), "seed", "2^64"),
    "until-number": (one("a", until=5), "until", "list"),
    "until-empty-text": (one("a", until=""), "until[0]", "at least 1"),
    "zero-tokens": (one("a", max_new_tokens=0), "max_new_tokens", "1"),
    "negative-tokens": (one("a", max_new_tokens=-3), "max_new_tokens", "1"),
    "million-tokens": (one("a", max_new_tokens=10**6), "max_new_tokens", "limit of 8192"),
    "min-above-max": (
        one("a", min_new_tokens=6, max_new_tokens=5),
        "min_new_tokens",
        "6 exceeds max_new_tokens 5",
    ),
    "negative-min": (one("a", min_new_tokens=-1), "min_new_tokens", "0"),
    "max-length-too-small": (
        one("the cat " * 9, max_length=5),
        "max_length",
        "tokens for member 'ada'",
    ),
    "prompt-too-long": (
        one("the cat " * 400),
        "messages_list",
        "tokens for member 'ada', whose context holds 300",
    ),
    "empty-prompt": (one(""), "messages_list", "prompt is empty for member 'ada'"),
    "refused-role": (
        {"messages_list": [[{"role": "oracle", "content": "a"}]], "apply_chat_template": True},
        "messages_list",
        "member 'bora' refuses this conversation: only user and assistant may speak",
    ),
    "too-many": ({"messages_list": [[USER]] * 257}, "messages_list", "limit is 256"),
    "array": ([1], None, "JSON object"),
    "text": ("text", None, "JSON object"),
    "number": (5, None, "JSON object"),
    "null": (None, None, ""),
    "empty": (b"", None, ""),
    "invalid": (b'{"messages_list": [', None, "not valid JSON"),
    "trailing": (b"{} {}", None, "not valid JSON"),
    "latin1": ('{"messages_list": "é"}'.encode("latin-1"), None, "not UTF-8 text (at byte 19)"),
    "deep": (b"[" * 100_000, None, "nested too deeply"),
    "deep-and-closed": (b"[" * 50_000 + b"]" * 50_000, None, "nested too deeply"),
    "long-number": (b'{"seed": ' + b"9" * 5000 + b"}", None, "not valid JSON"),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_bad_body_is_400_and_names_what_is_wrong(url: str, name: str) -> None:
    body, param, words = BAD_BODIES[name]
    answer = generate(url, body)
    assert answer.status == 400
    assert answer.error["type"] == "invalid_request_error"
    assert answer.error["param"] == param
    assert words in answer.error["message"]
    if param:
        assert param in answer.error["message"] or "member" in answer.error["message"]
    assert len(answer.error["message"]) < 500
    assert generate(url, one("the cat", max_new_tokens=1)).status == 200


def test_too_long_prompt_tells_the_count_and_a_code(url: str) -> None:
    error = generate(url, one("é" * 400)).error
    assert error["code"] == "context_length_exceeded"
    assert "400 tokens" in error["message"]


def test_nul_and_control_texts_are_ordinary_text(url: str) -> None:
    for text in ("\x00", "a\x00b", "<|end|>", "</s> the", "\u2581", "\ufffe", "👍🏽"):
        for templated in (False, True):
            body = one(text, max_new_tokens=2, apply_chat_template=templated, until=["\x00"])
            assert generate(url, body).status == 200, (text, templated)


def test_member_without_a_template_is_named() -> None:
    fakes = fakes_for(templates={"ada": PLAIN, "bora": None})
    with ready(fakes) as url:
        answer = generate(url, one("a", apply_chat_template=True))
        assert (answer.status, answer.error["param"]) == (400, "apply_chat_template")
        assert answer.error["message"] == "member 'bora' has no chat template"
        assert generate(url, one("a", max_new_tokens=1)).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/generate", 405),
        ("PUT", "/api/generate/", 405),
        ("POST", "/status", 405),
        ("GET", "/nowhere", 404),
        ("GET", "/", 404),
        ("POST", "/api/generate/it", 404),
        ("GET", "/%ff%00\\", 404),
    ],
)
def test_wrong_paths_and_methods_have_the_error_body(
    url: str, method: str, path: str, status: int
) -> None:
    answer = ask(url, method, path, b"{}" if method != "GET" else None)
    assert answer.status == status
    assert answer.error["type"] == "invalid_request_error"
    assert method in answer.error["message"]
    if status == 405:
        assert answer.headers["allow"]


def test_both_spellings_of_the_path_work(url: str) -> None:
    body = one("the cat", max_new_tokens=4)
    first, second = generate(url, body), generate(url, body, "/api/generate/")
    assert first.status == second.status == 200
    assert first.body["response"] == second.body["response"]


def test_body_without_a_content_type_is_json(url: str) -> None:
    data = json.dumps(one("a", max_new_tokens=1)).encode()
    assert ask(url, "POST", "/api/generate", data).status == 200
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = ask(url, "POST", "/api/generate", data, form)
    assert answer.status == 400
    assert "application/json" in answer.error["message"]


def _megabytes(count: int) -> Iterator[bytes]:
    piece = b" " * 2**20
    for _ in range(count):
        yield piece


@pytest.mark.parametrize("chunked", [False, True])
def test_huge_body_is_413_and_never_held(url: str, chunked: bool) -> None:
    generate(url, one("a", max_new_tokens=1))
    before = psutil.Process().memory_info().rss
    peak = before
    stop = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not stop.wait(0.01):
            peak = max(peak, psutil.Process().memory_info().rss)

    watching = threading.Thread(target=watch)
    watching.start()
    headers = {"Content-Type": "application/json"}
    if not chunked:
        headers["Content-Length"] = str(50 * 2**20)
    answer = ask(url, "POST", "/api/generate", _megabytes(50), headers)
    stop.set()
    watching.join()
    assert answer.status == 413
    assert answer.error["code"] == "body_too_large"
    assert "8388608 bytes" in answer.error["message"]
    assert peak - before < 40 * 2**20  # the limit is 8 MiB; the client holds one piece
    assert generate(url, one("a", max_new_tokens=1)).status == 200


def test_client_that_asks_before_it_sends_is_refused_at_once(url: str) -> None:
    parts = urlsplit(url)
    head = (
        f"POST /api/generate HTTP/1.1\r\nHost: {parts.netloc}\r\nExpect: 100-continue\r\n"
        f"Content-Length: {10**9}\r\n\r\n"
    )
    with socket.create_connection((parts.hostname, parts.port), 5.0) as connection:
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


@pytest.mark.slow
@pytest.mark.parametrize(
    "body",
    [
        {"messages_list": [1] * 1_000_000},
        {"messages_list": [[1] * 1_000_000]},
        one("a", until=[1] * 1_000_000),
        one("a", **{f"k{i}": 1 for i in range(400_000)}),
        {"messages_list": [[{**USER, **{f"k{i}": 1 for i in range(400_000)}}]]},
    ],
    ids=["conversations", "messages", "until", "fields", "message-fields"],
)
def test_million_mistakes_cost_no_more_than_one(url: str, body: Any) -> None:
    before = psutil.Process().memory_info().rss
    answer = generate(url, body)
    assert answer.status == 400
    assert len(answer.error["message"]) < 500
    # One error object a mistake took more than 1 GB.
    assert psutil.Process().memory_info().rss - before < 250 * 2**20


def test_full_queue_is_429_with_retry_after() -> None:
    config = fake_config(engine={"max_sequences": 1, "max_queued": 1})
    fakes = fakes_for(config)
    release = threading.Event()
    fakes.on_extend(lambda batch: release.wait(20.0))
    with ready(fakes) as url:
        holding = [
            threading.Thread(target=generate, args=(url, one("a", max_new_tokens=1)))
            for _ in range(2)
        ]
        for thread in holding:
            thread.start()
        engine = fakes.service.engine
        while engine.num_running + engine.num_waiting < 2:
            pass
        answer = generate(url, one("a"))
        release.set()
        for thread in holding:
            thread.join()
        assert generate(url, one("a", max_new_tokens=1)).status == 200
    assert answer.status == 429
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.error["code"] == "engine_overloaded"
    assert answer.error["type"] == "overloaded_error"


def test_full_server_refuses_before_it_tokenises(monkeypatch) -> None:
    """It needs no worker for that; and a worker that is late looks again."""
    fakes = fakes_for(fake_config(engine={"max_sequences": 1, "max_queued": 1}))
    release = threading.Event()
    fakes.on_extend(lambda batch: release.wait(20.0))
    two = {"messages_list": [[USER], [USER]], "max_new_tokens": 1}
    with ready(fakes) as url:
        holding = threading.Thread(target=generate, args=(url, two))
        holding.start()
        engine = fakes.service.engine
        assert until(lambda: engine.num_running + engine.num_waiting == 2)
        with monkeypatch.context() as patch:
            patch.setattr("gac.server.intake.prepare", lambda *_: 1 / 0)
            with pytest.raises(EngineOverloaded):
                prepared(fakes.service, GenerateBody(**two).request(), TraceBudget())
            patch.setattr("gac.server.intake.run_in_threadpool", lambda *_: 1 / 0)
            answer = generate(url, two)
        release.set()
        holding.join()
        assert generate(url, two).status == 200
    assert (answer.status, answer.error["code"]) == (429, "engine_overloaded")


def test_defect_is_500_without_a_traceback(url: str, fakes, monkeypatch) -> None:
    monkeypatch.setattr("gac.server.intake.prepare", lambda *_: 1 / 0)
    answer = generate(url, one("a"))
    assert answer.status == 500
    assert answer.error["type"] == "server_error"
    assert "division" not in answer.error["message"]
    monkeypatch.undo()
    assert get(url, "/status").status == 200
