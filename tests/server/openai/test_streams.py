"""A stream is the whole answer in pieces, for every strategy; errors, pings, clients that leave."""

import codecs
import json
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.choices import CHOICES, NAMES, TRIO
from tests.support.client import Answer, ask, get
from tests.support.fake_service import PLAIN, Fakes, fake_config, fakes_for, ready, until
from tests.support.openai_client import (
    CHAT,
    JSON,
    TEXT,
    Choice,
    lines_of,
    ok,
    open_stream,
    piece_of,
    post,
    refused,
    said,
    streamed,
    texts_of,
)

SAMPLING = ("temperature", "seed")
WAYS: list[dict[str, Any]] = [
    *CHOICES,
    {"strategy": "safe"},
    {"strategy": "safe", "temperature": 1.0, "seed": 5},
]
LONG = said(max_tokens=8000, ignore_eos=True)


def chat_of(way: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A chat that is answered in this way."""
    own = {key: value for key, value in way.items() if key not in SAMPLING}
    sampling = {key: way[key] for key in SAMPLING if key in way}
    return said(max_tokens=24, gac=own, logprobs=True, top_logprobs=2, **sampling, **fields)


def text_of(way: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A completion that is written in this way."""
    chat = chat_of(way, **fields)
    del chat["messages"], chat["top_logprobs"]
    return {**chat, "prompt": "the cat", "logprobs": 2}


def bytes_of(entries: Sequence[dict[str, Any]]) -> bytes:
    return b"".join(bytes(entry["bytes"]) for entry in entries)


def assert_each_chunk_has_its_own_tokens(choice: Choice) -> None:
    """After each chunk, the tokens listed so far are those that are visible in full."""
    entries, seen, text = choice.logprobs("content"), 0, ""
    for chunk in choice.chunks[:-2]:  # the end shows what was held back, maybe half a token
        text += piece_of(chunk)
        seen += len(list(chunk["logprobs"]["content"])) if chunk["logprobs"] else 0
        whole_characters = codecs.getincrementaldecoder("utf-8")("replace")
        assert text.startswith(whole_characters.decode(bytes_of(entries[:seen])))
        if seen < len(entries):
            assert not text.startswith(bytes_of(entries[: seen + 1]).decode("utf-8", "replace"))
    assert bytes_of(entries).decode("utf-8", "replace") == choice.text


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_chat_in_pieces_is_the_whole_chat(url: str, way: dict[str, Any]) -> None:
    body = chat_of(way)
    [whole] = ok(url, CHAT, body)["choices"]
    [choice] = streamed(url, CHAT, body).choices
    assert choice.text == whole["message"]["content"] != ""
    assert choice.finish_reason == whole["finish_reason"]
    assert choice.chunks[-1]["gac"] == whole["gac"]
    assert choice.logprobs("content") == whole["logprobs"]["content"]
    assert [len(chunk["delta"]) for chunk in choice.chunks][:: len(choice.chunks) - 1] == [2, 0]
    assert_each_chunk_has_its_own_tokens(choice)


@pytest.mark.parametrize("way", WAYS[::3], ids=str)
def test_completion_in_pieces_is_the_whole_completion(url: str, way: dict[str, Any]) -> None:
    body = text_of(way)
    [whole] = ok(url, TEXT, body)["choices"]
    [choice] = streamed(url, TEXT, body).choices
    assert choice.text == whole["text"] != ""
    assert choice.finish_reason == whole["finish_reason"]
    for key, values in whole["logprobs"].items():
        assert choice.logprobs(key) == values
    offsets = whole["logprobs"]["text_offset"]
    for offset, token in zip(offsets, whole["logprobs"]["tokens"], strict=True):
        assert token.startswith("bytes:") or whole["text"][offset:].startswith(token)


def test_both_forms_tell_the_same_of_a_token(url: str) -> None:
    """A chat of nothing but the text, and the text: fakes hash only ids, which are equal then."""
    fakes = fakes_for(
        fake_config(NAMES), dict.fromkeys(NAMES, "{{ messages[0].content }}"), TRIO, end_bias=-9.0
    )
    with ready(fakes) as url:
        chat, text = chat_of({}), text_of({})
        [entries] = [one["logprobs"]["content"] for one in ok(url, CHAT, chat)["choices"]]
        [completion] = ok(url, TEXT, text)["choices"]
    told = completion["logprobs"]
    assert told["token_logprobs"] == [entry["logprob"] for entry in entries]
    for entry, top in zip(entries, told["top_logprobs"], strict=True):
        best = [one["logprob"] for one in entry["top_logprobs"]]
        assert best == sorted(best, reverse=True) and len(best) == 2
        assert sorted(top.values()) == sorted({*best, entry["logprob"]})


def test_drafts_that_are_committed_together_have_each_its_own(url: str) -> None:
    """The text of speculation comes several tokens at a time."""
    config = fake_config(NAMES, engine={"speculation": {"drafter": "ada", "max_tokens": 4}})
    templates = dict.fromkeys(NAMES, PLAIN)
    fakes = fakes_for(config, templates, TRIO, end_bias=-5.0, max_context=300)
    fakes.on_extend(lambda batch: time.sleep(0.003))
    with ready(fakes) as other:
        [choice] = streamed(other, CHAT, chat_of({})).choices
    assert_each_chunk_has_its_own_tokens(choice)
    assert choice.logprobs("content") == streamed(url, CHAT, chat_of({})).choices[0].logprobs(
        "content"
    )


def test_token_in_which_a_stop_string_begins_is_told_in_full(url: str) -> None:
    text = texts_of(ok(url, CHAT, chat_of({})))[0]
    place = len(text) // 2
    body = chat_of({}, stop=text[place : place + 2])
    [whole] = ok(url, CHAT, body)["choices"]
    [choice] = streamed(url, CHAT, body).choices
    assert whole["finish_reason"] == choice.finish_reason == "stop"
    assert choice.text == whole["message"]["content"] == text[: text.index(body["stop"])]
    assert choice.logprobs("content") == whole["logprobs"]["content"]
    told = bytes_of(whole["logprobs"]["content"]).decode("utf-8", "replace")
    assert told.startswith(choice.text)


def test_choices_of_a_stream_are_those_of_the_whole(url: str) -> None:
    body = said(max_tokens=12, n=3, temperature=1.0, seed=1)
    body["stream_options"] = {"include_usage": True}
    stream = streamed(url, CHAT, body)
    del body["stream_options"]
    whole = ok(url, CHAT, body)
    assert [choice.text for choice in stream.choices] == texts_of(whole)
    assert len(set(texts_of(whole))) == 3
    assert stream.usage == whole["usage"]
    assert all(choice.chunks[0]["delta"]["role"] for choice in stream.choices)


def test_trace_rides_along(url: str) -> None:
    body = said(max_tokens=9, gac={"trace": 2}, temperature=1.0, seed=3)
    [whole] = ok(url, CHAT, body)["choices"]
    [choice] = streamed(url, CHAT, body).choices
    records = [one for chunk in choice.chunks for one in chunk.get("gac", {}).get("tokens", [])]
    assert len(records) == 9
    assert records == whole["gac"]["trace"]["tokens"]
    assert choice.chunks[-1]["gac"] == whole["gac"]
    assert all(len(member["top"]) == 2 for one in records for member in one["members"])


def failing(after: int) -> Fakes:
    """Members of which one fails after so many batches."""
    fakes = fakes_for(templates={"ada": PLAIN, "bora": PLAIN}, end_bias=-20.0, max_context=100_000)
    fakes.fail_after(after)
    return fakes


def test_error_before_the_first_byte_has_its_status(url: str) -> None:
    assert refused(url, CHAT, {**LONG, "stream": True, "top_p": 7})["param"] == "top_p"
    with ready(failing(after=0)) as broken:
        answer = post(broken, CHAT, {**LONG, "stream": True})
        assert (answer.status, answer.headers["content-type"]) == (500, "application/json")
        assert "out of luck" in answer.error["message"]


def test_error_later_is_an_event_and_no_mark_of_the_end_follows() -> None:
    with ready(failing(after=50)) as url:
        stream = streamed(url, CHAT, LONG)
    assert (
        stream.error and "out of luck" in Answer(500, {}, {"error": stream.error}).error["message"]
    )
    assert stream.choices[0].finish_reason is None
    assert len(stream.chunks) > 5


def slow() -> Fakes:
    """Members that hardly end, and take two milliseconds."""
    fakes = fakes_for(templates={"ada": PLAIN, "bora": PLAIN}, end_bias=-20.0, max_context=100_000)
    fakes.on_extend(lambda batch: time.sleep(0.002))
    return fakes


@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_client_that_leaves_a_stream_takes_its_choices_with_it(path: str) -> None:
    with ready(slow()) as url:
        body = {**LONG, "n": 3} if path == CHAT else {"prompt": ["a", "b", "c"], "max_tokens": 8000}
        connection, response = open_stream(url, path, body)
        assert next(lines_of(response))
        response.close()
        connection.close()
        assert until(lambda: get(url, "/status").body["num_aborted"] == 3)
        assert get(url, "/status").body["num_running"] == 0


def test_client_that_leaves_without_a_stream_does_so_too() -> None:
    with ready(slow()) as url:
        with pytest.raises(TimeoutError):
            ask(url, "POST", CHAT, json.dumps(LONG).encode(), JSON, timeout_s=0.3)
        assert until(lambda: get(url, "/status").body["num_aborted"] == 1)


def test_sequence_is_freed_within_one_step() -> None:
    fakes = slow()
    fakes.on_extend(lambda batch: time.sleep(0.5))
    with ready(fakes) as url:
        connection, response = open_stream(url, CHAT, LONG)
        assert next(lines_of(response))
        runners = list(fakes.members.runners.values())
        before = [len(runner.calls) for runner in runners]
        response.close()
        connection.close()
        assert until(lambda: get(url, "/status").body["num_aborted"] == 1)
        time.sleep(1.2)  # long enough for two steps more
        # The step that is on its way ends; none begins.
        after = [len(runner.calls) for runner in runners]
        assert all(now - then <= 1 for then, now in zip(before, after, strict=True))


def test_end_of_the_server_is_an_error_event() -> None:
    with ThreadPoolExecutor(1) as pool:
        fakes = slow()
        with ready(fakes) as url:
            asking = pool.submit(streamed, url, CHAT, LONG)
            assert until(lambda: fakes.service.engine.metrics.tokens > 3)
        error = asking.result().error
    assert error and error["message"] == "the server is shutting down"


def test_pings_are_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gac.server.responses.PING_S", 0.02)
    fakes = fakes_for(templates={"ada": PLAIN, "bora": PLAIN})
    release = threading.Event()
    fakes.on_extend(lambda batch: release.wait(20.0))
    with ready(fakes) as url:
        connection, response = open_stream(url, CHAT, said(max_tokens=2))
        lines = lines_of(response)
        assert json.loads(next(lines))["choices"][0]["delta"]["role"] == "assistant"
        assert [next(lines)[0] for _ in range(3)] == [":"] * 3
        release.set()
        assert list(lines)[-1] == "[DONE]"
        connection.close()
