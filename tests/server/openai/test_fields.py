"""Every field that is accepted matters; what would matter and is not supported is refused."""

from typing import Any

import pytest

from tests.support.choices import GATE, NAMES
from tests.support.fake_service import PLAIN, fake_config, fakes_for, ready
from tests.support.openai_client import CHAT, TEXT, ok, post, refused, said, texts_of

CHAT_BODY = said(max_tokens=12, temperature=1.0, seed=4)
TEXT_BODY = {"prompt": "the cat", "max_tokens": 12, "temperature": 1.0, "seed": 4}
BOTH = [(CHAT, CHAT_BODY), (TEXT, TEXT_BODY)]


def texts(url: str, path: str, body: dict[str, Any], **fields: Any) -> list[str]:
    return texts_of(ok(url, path, {**body, **fields}))


@pytest.mark.parametrize(("path", "body"), BOTH, ids=[CHAT, TEXT])
@pytest.mark.parametrize(
    "change",
    [
        {"max_tokens": 3},
        {"temperature": 1.5},
        {"temperature": None},
        {"seed": 2},
        {"top_k": 1},
        {"top_p": 0.01},
        {"min_p": 1.0},
        {"model": "gac/ada"},
        {"logit_bias": {"97": 100}},
        {"gac": {"strategy": GATE}},
        {"gac": {"strategy": "threshold", "threshold": 0.1}},
        {"gac": {"weights": {"ada": 1, "bora": 5, "cleo": 1}}},
        {"gac": {"aggregation": "geometric"}},
        {"gac": {"members": ["bora", "cleo"]}},
        {"n": 2},
    ],
    ids=str,
)
def test_field_changes_the_answer(url: str, path: str, body: Any, change: Any) -> None:
    assert texts(url, path, body, **change) != texts(url, path, body)


@pytest.mark.parametrize(("path", "body"), BOTH, ids=[CHAT, TEXT])
@pytest.mark.parametrize("field", ["presence", "frequency", "repetition"])
def test_penalty_changes_an_answer_that_repeats(url: str, path: str, body: Any, field: str) -> None:
    long = {**body, "max_tokens": 100}
    assert texts(url, path, long, **{f"{field}_penalty": 2.0}) != texts(url, path, long)


@pytest.mark.parametrize(("path", "body"), BOTH, ids=[CHAT, TEXT])
def test_stop_is_one_or_several(url: str, path: str, body: Any) -> None:
    [whole] = texts(url, path, body)
    stop = whole[4:6]
    for given in (stop, [stop], ["\x01\x02", stop]):
        answer = ok(url, path, {**body, "stop": given})
        assert texts_of(answer) == [whole[: whole.index(stop)]]
        assert answer["choices"][0]["finish_reason"] == "stop"
    assert texts(url, path, body, stop=[]) == [whole]


@pytest.mark.parametrize(("path", "body"), BOTH, ids=[CHAT, TEXT])
def test_end_can_be_ignored_or_put_off(path: str, body: Any) -> None:
    templates = {"ada": PLAIN, "bora": PLAIN}
    with ready(fakes_for(templates=templates, end_bias=50.0)) as url:

        def count(**fields: Any) -> int:
            return ok(url, path, {**body, **fields})["usage"]["completion_tokens"]

        assert count() == 0
        assert count(min_tokens=5) == 5
        assert count(ignore_eos=True) == 12


@pytest.mark.parametrize(("path", "body"), BOTH, ids=[CHAT, TEXT])
def test_null_is_absent_and_neutral_values_are_nothing(url: str, path: str, body: Any) -> None:
    neutral = {
        "n": 1,
        "logprobs": None,
        "logit_bias": {},
        "stream_options": None,
        "gac": None,
        "top_k": -1,
        "response_format": {"type": "text"},
        "prompt_logprobs": None,
        "skip_special_tokens": True,
        "use_beam_search": False,
        "length_penalty": 1.0,
        "best_of" if path == TEXT else "tools": None,
        "suffix" if path == TEXT else "tool_choice": "" if path == TEXT else "none",
    }
    answer = post(url, path, {**body, **neutral})
    assert texts_of(answer.body) == texts(url, path, body)
    assert "x-gac-ignored" not in answer.headers


@pytest.mark.parametrize(("path", "body"), BOTH, ids=[CHAT, TEXT])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("response_format", {"type": "json_object"}),
        ("response_format", {"type": "json_schema", "json_schema": {}}),
        ("guided_json", {"type": "object"}),
        ("structured_outputs", {"choice": ["a"]}),
        ("use_beam_search", True),
        ("length_penalty", True),
        ("prompt_logprobs", 0),
        ("stop_token_ids", [5]),
        ("skip_special_tokens", False),
    ],
)
def test_known_field_that_is_not_supported(
    url: str, path: str, body: Any, field: str, value: Any
) -> None:
    error = refused(url, path, {**body, field: value})
    assert (error["code"], error["param"]) == ("unsupported_parameter", field)
    assert error["message"].startswith(f"{field}: is not supported")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tools", [{"type": "function", "function": {"name": "f"}}]),
        ("tool_choice", "required"),
        ("functions", [{"name": "f"}]),
        ("modalities", ["text", "audio"]),
        ("audio", {"voice": "x"}),
        ("reasoning_effort", "high"),
        ("chat_template", "{{ x }}"),
        ("continue_final_message", True),
        ("echo", True),
    ],
)
def test_what_chats_do_not_support(url: str, field: str, value: Any) -> None:
    error = refused(url, CHAT, {**CHAT_BODY, field: value})
    assert (error["code"], error["param"]) == ("unsupported_parameter", field)


def chat(url: str, *messages: dict[str, Any]) -> str:
    [text] = texts_of(ok(url, CHAT, {**CHAT_BODY, "messages": messages}))
    return text


def test_content_is_a_text_or_parts_or_null(url: str) -> None:
    parts = [{"type": "text", "text": "the"}, {"type": "text", "text": "cat"}]
    assert chat(url, {"role": "user", "content": parts}) == chat(
        url, {"role": "user", "content": "the\ncat"}
    )
    asked = {"role": "user", "content": "the"}
    silent = [{"role": "assistant", "content": None}, {"role": "assistant"}]
    texts = {chat(url, asked, one, asked) for one in silent}
    assert texts == {chat(url, asked, {"role": "assistant", "content": ""}, asked)}
    with_more = {**asked, "name": "x", "refusal": None, "tool_calls": [], "reasoning": "y"}
    assert chat(url, with_more) == chat(url, asked)


def test_developer_is_system(url: str) -> None:
    first, user = {"role": "developer", "content": "x"}, {"role": "user", "content": "a"}
    assert chat(url, first, user) == chat(url, {**first, "role": "system"}, user)
    assert chat(url, first, user) != chat(url, {**first, "role": "user"}, user)


@pytest.mark.parametrize(
    ("message", "param", "code"),
    [
        ({"role": "user"}, "messages[0].content", None),
        ({"role": "user", "content": None}, "messages[0].content", None),
        ({"content": "a"}, "messages[0].role", None),
        ({"role": 5, "content": "a"}, "messages[0].role", None),
        ({"role": "user", "content": 5}, "messages[0].content", None),
        ({"role": "user", "content": [5]}, "messages[0].content[0]", None),
        ({"role": "user", "content": [{"type": "text"}]}, "messages[0].content[0]", None),
        (
            {"role": "user", "content": ["a", {"type": "image_url", "image_url": {"url": ""}}]},
            "messages[0].content[1]",
            "unsupported_parameter",
        ),
        ({"role": "tool", "content": "a"}, "messages[0].role", "unsupported_parameter"),
        (
            {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
            "messages[0].tool_calls",
            "unsupported_parameter",
        ),
        ("text", "messages[0]", None),
    ],
    ids=str,
)
def test_wrong_message_is_named(url: str, message: Any, param: str, code: str | None) -> None:
    error = refused(url, CHAT, {**CHAT_BODY, "messages": [message]})
    assert error["param"] == param
    assert error["code"] == (code or "invalid_request_error")


def test_both_names_of_the_limit_say_the_same(url: str) -> None:
    short = {**CHAT_BODY, "max_tokens": None, "max_completion_tokens": 3}
    assert texts(url, CHAT, CHAT_BODY, max_tokens=3) == texts_of(ok(url, CHAT, short))
    assert texts_of(ok(url, CHAT, {**short, "max_tokens": 3}))
    assert refused(url, CHAT, {**short, "max_tokens": 4})["param"] == "max_completion_tokens"
    assert refused(url, CHAT, {**short, "max_completion_tokens": 0})["param"] == (
        "max_completion_tokens"
    )


def test_chat_without_a_limit_is_as_long_as_fits(url: str) -> None:
    body = said(ignore_eos=True)
    answer = ok(url, CHAT, body)
    longest = max(answer["usage"]["gac"]["prompt_tokens"][0].values())
    assert answer["choices"][0]["finish_reason"] == "length"
    assert 100 < answer["usage"]["completion_tokens"] <= 300 - longest
    config = fake_config(engine={"max_new_tokens_limit": 7})
    with ready(fakes_for(config, {"ada": PLAIN, "bora": PLAIN}, end_bias=-9.0)) as short:
        assert ok(short, CHAT, body)["usage"]["completion_tokens"] == 7


def test_member_without_a_template_is_named_unless_it_takes_no_part() -> None:
    with ready(fakes_for(templates={"ada": PLAIN, "bora": None})) as url:
        error = refused(url, CHAT, CHAT_BODY)
        assert (error["message"], error["param"]) == (
            "member 'bora' has no chat template",
            "messages",
        )
        assert texts(url, CHAT, CHAT_BODY, model="gac/ada")
        assert texts(url, TEXT, TEXT_BODY)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"logprobs": 3}, "logprobs"),
        ({"temperature": 1e9}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"n": 0}, "n"),
        ({"n": 10**6}, "n"),
        ({"presence_penalty": 3}, "presence_penalty"),
        ({"logit_bias": {"x": 1}}, "logit_bias"),
        ({"logit_bias": {"5": 101}}, "logit_bias.5"),
        ({"logit_bias": [5]}, "logit_bias"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"seed": 2**70}, "seed"),
        ({"stop": 5}, "stop"),
        ({"stop": ["a"] * 65}, "stop"),
        ({"gac": []}, "gac"),
        ({"gac": {"trace": 21}}, "gac.trace"),
        ({"gac": {"trace": 1}, "n": 2}, "gac.trace"),
        ({"gac": {"weights": {"ada": -1}}}, "gac.weights.ada"),
        ({"gac": {"strategy": "best"}}, "gac.strategy"),
        ({"gac": {"members": ["ada"]}, "model": "gac/ada"}, "gac.members"),
        ({"messages": "hi"}, "messages"),
        ({"messages": None}, "messages"),
        ({"model": 5}, "model"),
    ],
    ids=str,
)
def test_wrong_value_is_400_in_the_words_of_the_client(url: str, fields: Any, param: str) -> None:
    error = refused(url, CHAT, {**CHAT_BODY, **fields})
    assert (error["param"], error["type"]) == (param, "invalid_request_error")
    assert param in error["message"]
    assert texts(url, CHAT, CHAT_BODY, max_tokens=1)


def test_members_are_models_only_where_requests_may_choose_them() -> None:
    config = fake_config(requests={"may_choose": ["strategy"]})
    with ready(fakes_for(config, {"ada": PLAIN, "bora": PLAIN})) as url:
        error = refused(url, CHAT, {**CHAT_BODY, "model": "gac/ada"}, 404)
        assert error["message"] == "model: 'gac/ada' does not exist; the models are 'gac'"
        assert texts(url, CHAT, CHAT_BODY, model="gac")


def test_fingerprint_changes_with_the_configuration_alone(url: str) -> None:
    def fingerprint(**fields: Any) -> str:
        return ok(url, CHAT, {**CHAT_BODY, **fields})["system_fingerprint"]

    plain = fingerprint()
    assert plain.startswith("fp_")
    assert plain == fingerprint(seed=9, max_tokens=2) == fingerprint(gac={"members": list(NAMES)})
    changes: list[dict[str, Any]] = [
        {"model": "gac/ada"},
        {"gac": {"strategy": "safe"}},
        {"gac": {"weights": {"ada": 1, "bora": 2, "cleo": 1}}},
        {"gac": {"aggregation": "min"}},
    ]
    assert len({plain, *(fingerprint(**one) for one in changes)}) == 5
