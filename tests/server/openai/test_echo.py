"""POST /v1/completions with `echo`: the prompt in front, its tokens scored, whole and streamed."""

import json
from typing import Any

import pytest

from tests.support.openai_client import TEXT, ok, open_stream

PROMPTS = ["the cat", " the cat", "日本 the", "a", "é\n\nthe"]


def echoed(prompt: Any, **fields: Any) -> dict[str, Any]:
    return {"prompt": prompt, "echo": True, "temperature": 0, "max_tokens": 2, **fields}


def chunks(url: str, body: Any) -> list[dict[str, Any]]:
    """The chunks of a stream, with its usage."""
    asked = {**body, "stream_options": {"include_usage": True}}
    connection, response = open_stream(url, TEXT, asked)
    lines = response.read().decode().splitlines()
    connection.close()
    return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


def joined(found: list[dict[str, Any]], key: str, index: int = 0) -> list[Any]:
    """One list of log-probabilities out of all chunks of a choice."""
    choices = [choice for chunk in found for choice in chunk["choices"] if choice["index"] == index]
    return [value for one in choices if one["logprobs"] for value in one["logprobs"][key]]


@pytest.mark.parametrize("model", ["gac", "gac/ada", "gac/bora"])
@pytest.mark.parametrize("prompt", PROMPTS)
def test_text_begins_with_the_prompt_that_was_sent(url: str, model: str, prompt: str) -> None:
    plain = ok(url, TEXT, {**echoed(prompt, model=model), "echo": False})["choices"][0]["text"]
    for logprobs in (None, 0, 2):
        body = echoed(prompt, model=model, logprobs=logprobs)
        answer = ok(url, TEXT, body)
        [choice] = answer["choices"]
        assert choice["text"].startswith(prompt)
        assert logprobs is not None or choice["text"] == prompt + plain
        found = chunks(url, body)
        texts = [one["text"] for chunk in found for one in chunk["choices"]]
        assert "".join(texts) == choice["text"]
        assert found[-1]["usage"] == answer["usage"]
        assert answer["usage"]["completion_tokens"] == 2
        if logprobs is not None:
            told = choice["logprobs"]
            for key in ("tokens", "token_logprobs", "text_offset"):
                values = joined(found, key)
                assert values == (pytest.approx(told[key]) if key != "tokens" else told[key])
            for now, before in zip(
                joined(found, "top_logprobs"), told["top_logprobs"], strict=True
            ):
                assert now == (before and pytest.approx(before))


@pytest.mark.parametrize("prompt", PROMPTS)
def test_tokens_of_the_prompt_come_first_and_are_scored(url: str, prompt: str) -> None:
    for max_tokens in (0, 1):
        body = echoed(prompt, logprobs=1, max_tokens=max_tokens)
        answer = ok(url, TEXT, body)
        told = answer["choices"][0]["logprobs"]
        # As lm-evaluation-harness counts them.
        assert len(told["tokens"]) == answer["usage"]["prompt_tokens"] + max_tokens
        assert told["token_logprobs"][0] is None and told["top_logprobs"][0] is None
        for value, top in zip(told["token_logprobs"][1:], told["top_logprobs"][1:], strict=True):
            assert value <= 0.0 and value in top.values()
        assert told["text_offset"] == sorted(told["text_offset"])


def test_end_is_listed_behind_a_prompt_that_is_scored(url: str) -> None:
    """One entry more than the prompt has, also where the text ends at once."""
    for seed in range(30):
        body = echoed("the", logprobs=1, max_tokens=1, temperature=100.0, seed=seed)
        answer = ok(url, TEXT, body)
        [choice] = answer["choices"]
        assert len(choice["logprobs"]["tokens"]) == answer["usage"]["prompt_tokens"] + 1
        assert joined(chunks(url, body), "tokens") == choice["logprobs"]["tokens"]


def test_every_prompt_and_every_choice_has_its_own(url: str) -> None:
    body = echoed(["the cat", [5, 6, 7]], n=2, logprobs=0, temperature=1.0, seed=3)
    choices = ok(url, TEXT, body)["choices"]
    assert [choice["text"].startswith("the cat") for choice in choices] == [True] * 2 + [False] * 2
    assert choices[0]["logprobs"]["token_logprobs"][:3] == pytest.approx(
        choices[1]["logprobs"]["token_logprobs"][:3]
    )
    found = chunks(url, body)
    for choice in choices:
        tokens = joined(found, "tokens", choice["index"])
        assert tokens == choice["logprobs"]["tokens"]
