"""POST /v1/chat/completions: whole and streamed, and what each field does."""

from typing import Any

import pytest

from tests.support.choices import NAMES
from tests.support.client import ask, generate
from tests.support.openai_client import CHAT, ok, post, refused, said, streamed, texts_of

SAMPLED = said(max_tokens=14, temperature=1.0, seed=4)


def text(url: str, body: Any) -> str:
    [text] = texts_of(ok(url, CHAT, body))
    return text


def test_answer_has_the_promised_fields(url: str) -> None:
    answer = ok(url, CHAT, SAMPLED)
    assert answer["object"] == "chat.completion"
    assert answer["id"].startswith("chatcmpl-")
    assert answer["model"] == "gac"
    [choice] = answer["choices"]
    assert choice["message"]["role"] == "assistant"
    assert choice["finish_reason"] == "length"
    assert choice["gac"] == {"ensembled_token_ratio": 1.0, "abstained_members": []}
    usage = answer["usage"]
    [counts] = usage["gac"]["prompt_tokens"]
    assert list(counts) == list(NAMES)
    assert usage["prompt_tokens"] == counts["ada"]
    assert usage["completion_tokens"] == 14
    assert usage["total_tokens"] == 14 + counts["ada"]


def test_it_is_what_the_original_route_writes(url: str) -> None:
    body = {
        "messages_list": [SAMPLED["messages"]],
        "apply_chat_template": True,
        "max_new_tokens": 14,
        "temperature": 1.0,
        "seed": 4,
    }
    assert generate(url, body).body["response"] == [text(url, SAMPLED)]


def test_stream_is_the_whole_in_pieces(url: str) -> None:
    whole = ok(url, CHAT, SAMPLED)
    stream = streamed(url, CHAT, SAMPLED)
    [choice] = stream.choices
    assert choice.text == whole["choices"][0]["message"]["content"]
    assert choice.finish_reason == whole["choices"][0]["finish_reason"]
    assert choice.chunks[0]["delta"] == {"role": "assistant", "content": ""}
    assert choice.chunks[-1]["delta"] == {}
    assert all("role" not in chunk["delta"] for chunk in choice.chunks[1:])
    assert stream.chunks[0]["object"] == "chat.completion.chunk"
    assert len(choice.chunks) > 5


def test_usage_comes_where_it_is_asked_for(url: str) -> None:
    usage = ok(url, CHAT, SAMPLED)["usage"]
    asked = {**SAMPLED, "stream_options": {"include_usage": True}}
    stream = streamed(url, CHAT, asked)
    assert stream.usage == usage
    assert all(chunk["usage"] is None for chunk in stream.chunks[:-1])
    always = {**SAMPLED, "stream_options": {"include_usage": True, "continuous_usage_stats": True}}
    stream = streamed(url, CHAT, always)
    counts = [chunk["usage"]["completion_tokens"] for chunk in stream.chunks]
    assert counts == sorted(counts) and counts[0] == 0 and stream.usage == usage
    assert len(set(counts)) > 4
    assert all("usage" not in chunk for chunk in streamed(url, CHAT, SAMPLED).chunks)


def test_models_are_listed_and_each_is_that_member_alone(url: str) -> None:
    listed = ask(url, "GET", "/v1/models").body
    assert [one["id"] for one in listed["data"]] == ["gac", *(f"gac/{name}" for name in NAMES)]
    for one in listed["data"]:
        assert ask(url, "GET", f"/v1/models/{one['id']}").body == one
        assert ask(url, "GET", f"/v1/models/{one['id']}/").body == one
    texts = set()
    for name in NAMES:
        body = {**SAMPLED, "model": f"gac/{name}"}
        assert text(url, body) == text(url, {**SAMPLED, "gac": {"members": [name]}})
        texts.add(text(url, body))
    assert len(texts | {text(url, SAMPLED)}) == 4


def test_unknown_model_is_404_and_says_what_there_is(url: str) -> None:
    error = refused(url, CHAT, {**SAMPLED, "model": "gpt-4"}, 404)
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert "'gac/ada'" in error["message"]
    assert ask(url, "GET", "/v1/models/gac/x").error["code"] == "model_not_found"


def test_errors_name_the_fields_of_the_client(url: str) -> None:
    for body, param in (
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_completion_tokens": 10**6}, "max_completion_tokens"),
        ({"min_tokens": 30}, "min_tokens"),
        ({"stop": [""]}, "stop[0]"),
        ({"temperature": -1}, "temperature"),
        ({"gac": {"threshold": 2}}, "gac.threshold"),
        ({"gac": {"members": ["x"]}}, "gac.members"),
        ({"gac": {"memberz": ["x"]}}, "gac.memberz"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "", "content": "a"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "a " * 400}]}, "messages"),
    ):
        error = refused(url, CHAT, {**SAMPLED, **body})
        assert error["param"] == param
        assert not {"max_new_tokens", "messages_list", "until"} & set(error["message"].split())


def test_unknown_fields_are_ignored_and_named(url: str) -> None:
    answer = post(url, CHAT, {**SAMPLED, "user": "me", "é": 1, "top_n": None})
    assert answer.headers["x-gac-ignored"] == "user, \\xe9"
    assert texts_of(answer.body) == [text(url, SAMPLED)]


def test_a_header_can_hold_whatever_a_field_is_called(url: str) -> None:
    fields = {" a ": 1, "": 2, "b,\r\n": 3, "\x00": 4, "  ": 5}
    answer = post(url, CHAT, {**SAMPLED, **fields})
    assert answer.headers["x-gac-ignored"] == 'a, "", b???, ?, ""'
    for field in fields:
        assert post(url, CHAT, {**SAMPLED, field: 1}).status == 200


def test_each_unknown_field_is_logged_once(url: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "gac.server.openai"):
        for _ in range(2):
            ok(url, CHAT, {**SAMPLED, "max_tokens": 1, "hitherto": 1, "unheard": 2})
    lines = [line for line in caplog.messages if "ignored" in line]
    assert [line.split()[-3] for line in lines] == ["hitherto", "unheard"]


def test_header_names_no_more_than_fit(url: str) -> None:
    many = {f"x{place}" * 40: 1 for place in range(40)}
    header = post(url, CHAT, {**SAMPLED, "max_tokens": 1, **many}).headers["x-gac-ignored"]
    assert header.endswith(" and 24 more")
    assert len(header) < 16 * 70
