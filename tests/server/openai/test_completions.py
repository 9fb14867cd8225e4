"""POST /v1/completions: prompts in all their forms, and what only completions have."""

from typing import Any

import pytest

from tests.support.client import generate, one
from tests.support.fake_service import Fakes
from tests.support.openai_client import TEXT, ok, refused, streamed, texts_of

BODY = {"prompt": "the cat", "max_tokens": 9, "temperature": 1.0, "seed": 4}


def text(url: str, **fields: Any) -> str:
    [text] = texts_of(ok(url, TEXT, {**BODY, **fields}))
    return text


def test_it_is_what_the_original_route_writes(url: str) -> None:
    body = one("the cat", max_new_tokens=9, temperature=1.0, seed=4)
    assert generate(url, body).body["response"] == [text(url)]


def test_answer_has_the_promised_fields(url: str) -> None:
    answer = ok(url, TEXT, BODY)
    assert answer["object"] == "text_completion"
    assert answer["id"].startswith("cmpl-")
    [choice] = answer["choices"]
    assert set(choice) == {"index", "text", "logprobs", "finish_reason", "gac"}
    assert answer["usage"]["completion_tokens"] == 9


def test_usual_length_is_that_of_openai(url: str) -> None:
    assert ok(url, TEXT, {"prompt": "the", "ignore_eos": True})["usage"]["completion_tokens"] == 16


def test_prompts_come_in_four_forms(url: str, fakes: Fakes) -> None:
    """Ids are those of the first member, as the server's strategy has no gate."""
    reference = fakes.service.started.tokenizers["ada"]
    ids = [list(reference.prompts.encode_text(text)) for text in ("the cat", "é")]
    first, second = (text(url, prompt=prompt) for prompt in ("the cat", "é"))
    assert first != second
    for prompts in (["the cat", "é"], ids):
        answer = ok(url, TEXT, {**BODY, "prompt": prompts})
        assert texts_of(answer) == [first, second]
        assert len(answer["usage"]["gac"]["prompt_tokens"]) == 2
    assert text(url, prompt=ids[0]) == first
    assert text(url, prompt=[ids[1]]) == second
    assert texts_of(ok(url, TEXT, {**BODY, "prompt": ["the cat"]})) == [first]


def test_choices_of_each_prompt_stand_together(url: str) -> None:
    body = {**BODY, "prompt": ["the cat", "é"], "n": 3}
    answer = ok(url, TEXT, body)
    whole = texts_of(answer)
    assert len(set(whole)) == 6
    assert (whole[0], whole[3]) == (text(url), text(url, prompt="é"))
    assert len(answer["usage"]["gac"]["prompt_tokens"]) == 2
    assert answer["usage"]["completion_tokens"] == 54
    assert [choice.text for choice in streamed(url, TEXT, body).choices] == whole


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"prompt": None}, "prompt", "required"),
        ({"prompt": []}, "prompt", "at least 1 prompt"),
        ({"prompt": 5}, "prompt", "a list of ids"),
        ({"prompt": ["a", 5]}, "prompt[1]", "a list of ids"),
        ({"prompt": ["a", [True]]}, "prompt[1]", "a list of ids"),
        ({"prompt": [[]]}, "prompt[0]", "a list of ids"),
        ({"prompt": [1, "a"]}, "prompt[0]", "a list of ids"),
        ({"prompt": [10**6]}, "prompt[0]", "1000000"),
        ({"prompt": [[5], [-1]]}, "prompt[1][0]", "-1"),
        ({"prompt": "\ud800"}, "prompt", "lone surrogate"),
        ({"prompt": ["a", "\ud800"]}, "prompt[1]", "lone surrogate"),
        ({"prompt": ["a"] * 257}, "prompt", "257 prompts"),
        ({"prompt": "the " * 400}, "prompt", "context holds 300"),
        ({"max_tokens": 0}, "max_tokens", "0 with echo"),
        ({"best_of": 2}, "best_of", "equals n, which is 1"),
        ({"suffix": "x"}, "suffix", "not supported"),
        ({"logprobs": 21}, "logprobs", "from 0 to 20"),
        ({"logprobs": True}, "logprobs", "integer"),
        ({"gac": {"trace": True}, "prompt": [5]}, "gac.trace", "texts"),
        ({"gac": {"trace": True}, "n": 2}, "gac.trace", "n is 2"),
    ],
    ids=str,
)
def test_wrong_field_is_named(url: str, fields: Any, param: str, words: str) -> None:
    error = refused(url, TEXT, {**BODY, **fields})
    assert error["param"] == param
    assert words in error["message"]


def test_best_of_n_is_n(url: str) -> None:
    assert texts_of(ok(url, TEXT, {**BODY, "n": 2, "best_of": 2}))[0] == text(url)


def test_likelihoods_too_many_to_hold_are_refused_at_once(url: str) -> None:
    body = {**BODY, "prompt": ["the cat"] * 20, "logprobs": 20, "max_tokens": 8000}
    error = refused(url, TEXT, body)
    assert error["param"] == "logprobs"
    assert "20 texts x max_tokens 8000 with logprobs 20" in error["message"]
    assert ok(url, TEXT, {**body, "prompt": "the cat"})


@pytest.mark.parametrize("max_tokens", [0, 1])
def test_echo_scores_each_token_of_the_prompt(url: str, fakes: Fakes, max_tokens: int) -> None:
    ids = list(fakes.service.started.tokenizers["ada"].prompts.encode_text("the cat a"))
    body = {"prompt": [ids], "max_tokens": max_tokens, "logprobs": 1, "echo": True}
    [choice] = ok(url, TEXT, body)["choices"]
    told = choice["logprobs"]
    assert len(told["tokens"]) == len(told["text_offset"]) == len(ids) + max_tokens
    assert told["token_logprobs"][0] is None and None not in told["token_logprobs"][1:]
    assert choice["text"].startswith("the cat a")
    [stream] = streamed(url, TEXT, body).choices
    assert stream.text == choice["text"]
    assert stream.logprobs("token_logprobs") == told["token_logprobs"]


def test_echo_alone_puts_the_prompt_in_front(url: str) -> None:
    assert text(url, echo=True) == "the cat" + text(url)
