"""openai-python, unchanged, against the real server on the demo members.

What is asked is what the client's users ask: the texts are known, because the demo members are.
"""

import asyncio
import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk

pytestmark = pytest.mark.slow

NORWAY: Any = [{"role": "user", "content": "What is the capital of Norway?"}]
FRANCE: Any = [{"role": "user", "content": "What is the capital of France?"}]
OSLO = "The capital of Norway is Oslo."
LONG: Any = {"max_tokens": 1500, "extra_body": {"ignore_eos": True}}
"""A text that takes many seconds, and never ends by itself."""


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[OpenAI]:
    print(f"openai {openai.__version__}")
    with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client


def status(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url}/status", timeout=10.0) as answer:
        return json.loads(answer.read())


def ids_of(url: str, text: str) -> list[int]:
    """A text in the ids of the reference member's tokenizer."""
    body = json.dumps({"prompt": text}).encode()
    request = urllib.request.Request(f"{url}/tokenize", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10.0) as answer:
        return json.loads(answer.read())["tokens"]


def soon(holds: Callable[[], bool], within_s: float) -> bool:
    """Whether something holds within that time."""
    deadline = time.monotonic() + within_s
    while not (held := holds()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return held


def content_of(chunks: list[ChatCompletionChunk], index: int = 0) -> str:
    """The text of one choice of a stream."""
    choices = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
    return "".join(choice.delta.content or "" for choice in choices)


def test_models_are_the_ensemble_and_each_member_alone(client: OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert names == ["gac", "gac/ada", "gac/bora", "gac/cleo"]
    assert [client.models.retrieve(name).id for name in names] == names
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gac/dora")


def test_chat_gives_the_answer_of_the_ensemble_and_of_a_member_alone(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="gac", messages=NORWAY)
    (choice,) = answer.choices
    assert (choice.message.role, choice.message.content) == ("assistant", OSLO)
    assert (choice.finish_reason, choice.index, answer.model) == ("stop", 0, "gac")
    assert answer.object == "chat.completion" and answer.id.startswith("chatcmpl-")
    assert abs(answer.created - time.time()) < 120
    usage = answer.usage
    assert usage and usage.prompt_tokens > 0
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    alone = client.chat.completions.create(model="gac/ada", messages=NORWAY)
    assert alone.choices[0].message.content == "The capital of Norway is Moscow."
    assert alone.system_fingerprint and alone.system_fingerprint != answer.system_fingerprint


def test_a_list_of_text_parts_is_a_content(client: OpenAI) -> None:
    parts: Any = [{"role": "user", "content": [{"type": "text", "text": NORWAY[0]["content"]}]}]
    answer = client.chat.completions.create(model="gac", messages=parts)
    assert answer.choices[0].message.content == OSLO


def test_length_limits_end_an_answer(client: OpenAI) -> None:
    for limit in ({"max_tokens": 3}, {"max_completion_tokens": 3}):
        answer = client.chat.completions.create(model="gac", messages=NORWAY, **limit)
        assert answer.choices[0].finish_reason == "length"
        assert answer.usage and answer.usage.completion_tokens == 3
    stopped = client.chat.completions.create(model="gac", messages=NORWAY, stop=["Norway", "xyz"])
    assert stopped.choices[0].message.content == "The capital of "
    assert stopped.choices[0].finish_reason == "stop"


def test_a_streamed_chat_is_the_chat_that_is_not_streamed(client: OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="gac", messages=NORWAY, stream=True))
    assert content_of(chunks) == OSLO
    first, *others = [chunk.choices[0] for chunk in chunks]
    assert first.delta.role == "assistant"
    assert all(choice.delta.role is None for choice in others)
    assert [choice.finish_reason for choice in others[:-1]] == [None] * len(others[:-1])
    assert (others[-1].finish_reason, others[-1].delta.content) == ("stop", None)
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks)


def test_usage_comes_last_in_a_stream_that_asks_for_it(client: OpenAI) -> None:
    whole = client.chat.completions.create(model="gac", messages=NORWAY)
    *chunks, last = client.chat.completions.create(
        model="gac", messages=NORWAY, stream=True, stream_options={"include_usage": True}
    )
    assert last.choices == [] and last.usage and whole.usage
    assert last.usage.model_dump() == whole.usage.model_dump()
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)


def test_chat_logprobs_are_those_of_the_text(client: OpenAI) -> None:
    asked: Any = {"model": "gac", "messages": NORWAY, "logprobs": True, "top_logprobs": 4}
    answer = client.chat.completions.create(**asked)
    assert answer.choices[0].logprobs and answer.choices[0].logprobs.content
    tokens = answer.choices[0].logprobs.content
    assert b"".join(bytes(token.bytes or []) for token in tokens).decode() == OSLO
    for token in tokens:
        values = [other.logprob for other in token.top_logprobs]
        assert len(values) == 4 and values == sorted(values, reverse=True)
        greedy = token.top_logprobs[0]
        assert (greedy.token, greedy.logprob) == (token.token, token.logprob)
        assert token.logprob <= 0.0
    streamed = []
    for chunk in client.chat.completions.create(**asked, stream=True):
        (choice,) = chunk.choices
        told = (choice.logprobs and choice.logprobs.content) or []
        streamed += told
        assert "".join(token.token for token in told) == (choice.delta.content or "")
    assert streamed == tokens


def test_completions_continue_a_text_and_list_logprobs_as_they_used_to(client: OpenAI) -> None:
    prompt = f"Question: {NORWAY[0]['content']}\nAnswer:"
    asked: Any = {"model": "gac", "prompt": prompt, "max_tokens": 8, "temperature": 0}
    answer = client.completions.create(**asked, logprobs=3)
    (choice,) = answer.choices
    assert answer.object == "text_completion" and answer.id.startswith("cmpl-")
    told = choice.logprobs
    assert told and told.tokens and told.token_logprobs and told.text_offset and told.top_logprobs
    assert "".join(told.tokens) == choice.text
    starts = [len("".join(told.tokens[:place])) for place in range(len(told.tokens))]
    assert told.text_offset == starts
    for value, others in zip(told.token_logprobs, told.top_logprobs, strict=True):
        assert value == max(others.values())
    chunks = list(client.completions.create(**asked, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == choice.text
    assert chunks[-1].choices[0].finish_reason == choice.finish_reason


def test_answers_are_what_openai_s_types_say(client: OpenAI) -> None:
    """The client itself checks nothing; its types are made from OpenAI's own document."""
    chat: Any = {"model": "gac", "messages": NORWAY, "logprobs": True, "top_logprobs": 2, "n": 2}
    text: Any = {"model": "gac", "prompt": "Norway", "max_tokens": 3, "logprobs": 2}
    chats, texts = client.chat.completions, client.completions
    ChatCompletion.model_validate_json(chats.with_raw_response.create(**chat).text, strict=True)
    Completion.model_validate_json(texts.with_raw_response.create(**text).text, strict=True)
    usage = {"include_usage": True}
    for chunk in chats.create(**chat, stream=True, stream_options=usage):
        ChatCompletionChunk.model_validate_json(chunk.to_json(), strict=True)
    for piece in texts.create(**text, stream=True, stream_options=usage):
        for choice in piece.choices:
            # OpenAI's document has one type for whole texts and pieces, which end for no reason.
            choice.finish_reason = choice.finish_reason or "stop"
        Completion.model_validate_json(piece.to_json(), strict=True)


def test_echo_scores_what_was_written(client: OpenAI) -> None:
    prompt = f"Question: {NORWAY[0]['content']}\nAnswer:"
    first = client.completions.create(
        model="gac", prompt=prompt, max_tokens=6, temperature=0, logprobs=1
    ).choices[0]
    again = client.completions.create(
        model="gac", prompt=prompt + first.text, max_tokens=0, echo=True, logprobs=1
    ).choices[0]
    assert again.text == prompt + first.text and again.logprobs
    assert (again.logprobs.token_logprobs or [0.0])[0] is None
    assert "".join(again.logprobs.tokens or []) == again.text


def test_prompts_are_a_string_a_list_or_token_ids(client: OpenAI, url: str) -> None:
    prompts = ["The capital of Norway is", "The capital of France is"]
    asked: Any = {"model": "gac", "max_tokens": 4, "temperature": 0}
    alone = [client.completions.create(prompt=one, **asked).choices[0].text for one in prompts]
    both = client.completions.create(prompt=prompts, **asked)
    assert [choice.index for choice in both.choices] == [0, 1]
    assert [choice.text for choice in both.choices] == alone
    ids = ids_of(url, prompts[0])
    for given in (ids, [ids]):
        assert client.completions.create(prompt=given, **asked).choices[0].text == alone[0]


def test_choices_differ_and_a_seed_repeats_them(client: OpenAI) -> None:
    asked: Any = {"model": "gac", "messages": NORWAY, "n": 3, "temperature": 4.0, "max_tokens": 12}
    asked["extra_body"] = {"ignore_eos": True}
    answer = client.chat.completions.create(**asked, seed=7)
    texts = [choice.message.content for choice in answer.choices]
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert len(set(texts)) == 3
    again = client.chat.completions.create(**asked, seed=7)
    assert [choice.message.content for choice in again.choices] == texts
    other = client.chat.completions.create(**asked, seed=8)
    assert not set(texts) & {choice.message.content for choice in other.choices}
    chunks = list(client.chat.completions.create(**asked, seed=7, stream=True))
    assert [content_of(chunks, index) for index in range(3)] == texts


def test_penalties_and_bias_change_an_answer(client: OpenAI, url: str) -> None:
    asked: Any = {"model": "gac", "messages": NORWAY, "max_tokens": 30, "temperature": 0}
    asked["extra_body"] = {"ignore_eos": True}
    plain = client.chat.completions.create(**asked).choices[0].message.content
    for changed in ({"frequency_penalty": 2.0}, {"presence_penalty": 2.0}):
        other = client.chat.completions.create(**asked, **changed)
        assert other.choices[0].message.content != plain, changed
    body = {"ignore_eos": True, "repetition_penalty": 3.0}
    other = client.chat.completions.create(**{**asked, "extra_body": body})
    assert other.choices[0].message.content != plain
    [oslo] = ids_of(url, " Oslo")
    biased = client.chat.completions.create(**asked, logit_bias={str(oslo): -100})
    assert " Oslo" in (plain or "") and " Oslo" not in (biased.choices[0].message.content or "")


def test_fields_of_our_own_and_fields_that_nobody_knows(client: OpenAI) -> None:
    ours = {"gac": {"members": ["ada"], "trace": True}, "flavour": "mint"}
    raw = client.chat.completions.with_raw_response.create(
        model="gac", messages=NORWAY, extra_body=ours
    )
    assert raw.headers["x-gac-ignored"] == "flavour"
    choice = raw.parse().choices[0]
    assert choice.message.content == "The capital of Norway is Moscow."
    assert choice.model_extra and choice.model_extra["gac"]["trace"]["tokens"]


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"temperature": -1}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"n": 0}, "n"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"top_p": 0}, "top_p"),
        ({"logit_bias": {"x": 1}}, "logit_bias"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"extra_body": {"gac": {"flavour": "mint"}}}, "gac.flavour"),
    ],
)
def test_a_wrong_request_is_a_bad_request_that_names_the_field(
    client: OpenAI, wrong: dict[str, Any], param: str
) -> None:
    asked: Any = {"model": "gac", "messages": NORWAY, **wrong}
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(**asked, stream=stream)
        assert str(caught.value.param).startswith(param), caught.value
        assert caught.value.code and caught.value.type == "invalid_request_error"
    answer = client.chat.completions.create(model="gac", messages=NORWAY)
    assert answer.choices[0].message.content == OSLO


def test_an_unknown_model_is_not_found_and_those_there_are_are_named(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="gpt-9", messages=NORWAY)
    assert caught.value.code == "model_not_found"
    assert "gac/ada" in str(caught.value)


def test_a_prompt_longer_than_the_context_names_the_member(client: OpenAI) -> None:
    long: Any = [{"role": "user", "content": "Norway is a country. " * 1000}]
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="gac", messages=long)
    assert any(name in str(caught.value) for name in ("ada", "bora", "cleo"))


def test_a_client_that_leaves_a_stream_frees_its_sequence(client: OpenAI, url: str) -> None:
    aborted = status(url)["num_aborted"]
    stream = client.chat.completions.create(model="gac", messages=NORWAY, stream=True, **LONG)
    for _ in range(4):
        next(iter(stream))
    assert status(url)["num_running"] == 1
    tokens = status(url)["num_tokens"]
    stream.close()
    assert soon(lambda: status(url)["num_running"] == 0, within_s=1.0)
    # Tokens written between the look at the counter and the end: far from the 1500 asked for.
    assert status(url)["num_tokens"] < tokens + 200
    assert status(url)["num_aborted"] == aborted + 1


def test_a_client_whose_patience_ends_frees_its_sequence(client: OpenAI, url: str) -> None:
    aborted = status(url)["num_aborted"]
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.5).chat.completions.create(
            model="gac", messages=NORWAY, **LONG
        )
    assert soon(lambda: status(url)["num_aborted"] == aborted + 1, within_s=1.0)
    assert status(url)["num_running"] == 0


def test_many_at_once_get_what_each_gets_alone(client: OpenAI, url: str) -> None:
    asked = [NORWAY, FRANCE] * 6

    async def all_of_them() -> list[str | None]:
        async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client:
            calls = [client.chat.completions.create(model="gac", messages=one) for one in asked]
            return [answer.choices[0].message.content for answer in await asyncio.gather(*calls)]

    alone = client.chat.completions.create(model="gac", messages=FRANCE).choices[0].message.content
    assert asyncio.run(all_of_them()) == [OSLO, alone] * 6


def test_a_full_server_is_tried_again_when_it_says(narrow_url: str) -> None:
    with OpenAI(base_url=f"{narrow_url}/v1", api_key="none", max_retries=0) as client:
        first = client.chat.completions.create(model="gac", messages=NORWAY, stream=True, **LONG)
        next(iter(first))
        second = threading.Thread(
            target=client.chat.completions.create,
            kwargs={"model": "gac", "messages": NORWAY, "max_tokens": 2},
        )
        second.start()
        assert soon(lambda: status(narrow_url)["num_waiting"] == 1, within_s=10.0)
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(model="gac", messages=NORWAY)
        assert int(caught.value.response.headers["retry-after"]) >= 1
        threading.Timer(0.5, first.close).start()
        patient = client.with_options(max_retries=8)
        answer = patient.chat.completions.create(model="gac", messages=NORWAY, max_tokens=2)
        assert answer.usage and answer.usage.completion_tokens == 2
        second.join(30.0)
        assert not second.is_alive()
