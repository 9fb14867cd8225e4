"""The one way in: whoever asks, the same checks, the same names, and the same prompts."""

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import pytest

from gac.core import Penalties, Sampling
from gac.engine.client_request import ClientRequest
from gac.engine.requests import check_limits, prepare
from gac.errors import RequestError
from gac.server.schemas import GenerateBody
from tests.support.fake_service import Fakes, fake_config, fakes_for, started

USER = {"role": "user", "content": "the cat"}
PLAIN = ClientRequest(messages_list=[[USER]])


@pytest.fixture(scope="module")
def fakes() -> Iterator[Fakes]:
    with started(fakes_for(max_context=40)) as fakes:
        yield fakes


def refused(fakes: Fakes, **changes: Any) -> RequestError:
    with pytest.raises(RequestError) as raised:
        prepare(fakes.service.config, fakes.service.started, replace(PLAIN, **changes))
    assert raised.value.param
    return raised.value


@pytest.mark.parametrize(
    ("changes", "param", "words"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens", "at least 1"),
        ({"max_length": 0}, "max_length", "at least 1"),
        ({"min_new_tokens": -1}, "min_new_tokens", "at least 0"),
        ({"min_new_tokens": 51}, "min_new_tokens", "51 exceeds max_new_tokens 50"),
        ({"temperature": float("nan")}, "temperature", "from 0 to 100, not nan"),
        ({"temperature": float("inf")}, "temperature", "from 0 to 100, not inf"),
        ({"top_k": -1}, "top_k", "at least 0"),
        ({"top_p": 0.0}, "top_p", "above 0"),
        ({"min_p": 1.5}, "min_p", "from 0 to 1"),
        ({"seed": 2**64}, "seed", "2^64"),
        ({"threshold": 1.1}, "threshold", "from 0 to 1"),
        ({"trace": 21}, "trace", "from 0 to 20"),
        ({"logprobs": -1}, "logprobs", "from 0 to 20"),
        ({"logprobs": 21}, "logprobs", "from 0 to 20"),
        ({"presence_penalty": 2.1}, "presence_penalty", "from -2 to 2"),
        ({"frequency_penalty": float("nan")}, "frequency_penalty", "from -2 to 2"),
        ({"repetition_penalty": 0.0}, "repetition_penalty", "above 0 and at most 10"),
        ({"logit_bias": {5: -101.0}}, "logit_bias.5", "from -100 to 100, not -101"),
        ({"logit_bias": {5: float("nan")}}, "logit_bias.5", "from -100 to 100"),
        ({"logit_bias": dict.fromkeys(range(1025), 1.0)}, "logit_bias", "at most 1024 ids"),
        ({"logit_bias": {9999: 1.0}}, "logit_bias.9999", "the ids of 'ada', which are meant"),
        ({"logit_bias": {-1: 1.0}}, "logit_bias.-1", "from 0 to"),
        ({"weights": {"ada": float("nan"), "bora": 1.0}}, "weights.ada", "finite"),
        ({"weights": {"ada": -1.0, "bora": 1.0}}, "weights.ada", "at least 0"),
        ({"until": ["a"] * 65}, "until", "at most 64"),
        ({"until": ["a", ""]}, "until[1]", "at least 1"),
        ({"until": ["\ud800"]}, "until[0]", "lone surrogate at character 0"),
        ({"messages_list": []}, "messages_list", "at least 1"),
        ({"messages_list": [[USER], []]}, "messages_list[1]", "at least 1"),
        ({"messages_list": ["a\ud800"]}, "messages_list[0]", "lone surrogate at character 1"),
        ({"messages_list": [""]}, "messages_list", "the prompt is empty"),
        ({"messages_list": ["é" * 99]}, "messages_list", "whose context holds 40"),
        ({"members": ["x"]}, "members", "'x' is no member"),
        ({"messages_list": ["a"], "apply_chat_template": True}, "apply_chat_template", "plain"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(fakes: Fakes, changes: Any, param: str, words: str) -> None:
    error = refused(fakes, **changes)
    assert error.param == param
    assert words in error.message


def test_limits_are_those_of_the_configuration() -> None:
    config = fake_config(engine={"max_new_tokens_limit": 9}, server={"max_conversations": 2})
    within = replace(PLAIN, max_new_tokens=9, messages_list=["a", "b"])
    check_limits(config, within)
    for field, value in (("max_new_tokens", 10), ("messages_list", ["a", "b", "c"])):
        with pytest.raises(RequestError, match="limit of [29]|limit is [29]") as raised:
            check_limits(config, replace(within, **{field: value}))
        assert raised.value.param == field


def test_texts_and_conversations_may_stand_side_by_side(fakes: Fakes) -> None:
    asked = replace(PLAIN, messages_list=["the cat", [USER], [USER, USER]])
    text, conversation, longer = prepare(fakes.service.config, fakes.service.started, asked)
    assert text.prompts == conversation.prompts != longer.prompts
    assert len({one.request_id for one in (text, conversation, longer)}) == 3


def test_every_field_reaches_the_engine(fakes: Fakes) -> None:
    asked = ClientRequest(
        messages_list=["the cat"],
        max_new_tokens=8,
        max_length=30,
        min_new_tokens=2,
        ignore_eos=True,
        until=["zz"],
        temperature=0.5,
        top_k=3,
        top_p=0.9,
        min_p=0.1,
        seed=7,
        strategy="threshold",
        threshold=0.25,
        weights={"bora": 3.0, "ada": 1.0},
        aggregation="min",
        trace=4,
        logprobs=3,
        presence_penalty=0.5,
        frequency_penalty=-0.25,
        repetition_penalty=1.5,
        logit_bias={},
    )
    [one] = prepare(fakes.service.config, fakes.service.started, asked)
    assert (one.max_new_tokens, one.max_length, one.min_new_tokens) == (8, 30, 2)
    assert (one.ignore_eos, one.stop, one.trace) == (True, ("zz",), 4)
    assert one.logprobs == 3
    assert one.sampling == Sampling(0.5, 3, 0.9, 0.1, 7)
    assert one.penalties == Penalties(0.5, -0.25, 1.5, {})
    assert one.weights == {"ada": 0.25, "bora": 0.75}
    assert one.strategy is not None
    chosen = one.strategy.model_dump()
    assert (chosen["name"], chosen["threshold"]) == ("threshold", 0.25)
    assert chosen["aggregation"]["name"] == "min"


def test_seed_is_drawn_for_each_text_unless_it_was_sent(fakes: Fakes) -> None:
    asked = replace(PLAIN, messages_list=["a"] * 4, temperature=1.0)
    config, started = fakes.service.config, fakes.service.started
    assert len({one.sampling.seed for one in prepare(config, started, asked)}) == 4
    seeded = replace(asked, seed=5)
    assert {one.sampling.seed for one in prepare(config, started, seeded)} == {5}


def test_http_has_the_same_fields_and_defaults() -> None:
    assert GenerateBody(messages_list=[[USER]]).request() == replace(PLAIN, messages_list=[[USER]])
    ours = {"n", "logprobs", "echo"}
    missing = {field.name for field in fields(ClientRequest)} - set(GenerateBody.model_fields)
    assert missing == ours, "what `/api/generate` does not take"
