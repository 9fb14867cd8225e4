"""langchain-openai, unchanged: a chat model of a chain."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk, HumanMessage
from langchain_openai import ChatOpenAI, OpenAI

NORWAY = [HumanMessage("What is the capital of Norway?")]
FRANCE = [HumanMessage("What is the capital of France?")]
OSLO = "The capital of Norway is Oslo."


@pytest.fixture(scope="module")
def asked(url: str) -> dict[str, Any]:
    return {"base_url": f"{url}/v1", "api_key": "none", "model": "gac", "max_retries": 0}


@pytest.fixture(scope="module")
def model(asked: dict[str, Any]) -> Iterator[ChatOpenAI]:
    yield ChatOpenAI(**asked, temperature=0, max_completion_tokens=40)


def test_invoke(model: ChatOpenAI) -> None:
    answer = model.invoke(NORWAY)
    assert answer.content == OSLO
    assert answer.response_metadata["finish_reason"] == "stop"
    assert answer.usage_metadata and answer.usage_metadata["output_tokens"] > 0


def test_a_limit_of_tokens_is_kept(asked: dict[str, Any]) -> None:
    answer = ChatOpenAI(**asked, max_completion_tokens=3).invoke(NORWAY)
    assert answer.response_metadata["finish_reason"] == "length"
    assert answer.usage_metadata and answer.usage_metadata["output_tokens"] == 3


def test_stream(model: ChatOpenAI) -> None:
    chunks = list(model.stream(NORWAY, stream_usage=True))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert isinstance(whole, AIMessageChunk) and whole.content == OSLO
    assert len([chunk for chunk in chunks if chunk.content]) > 3
    assert whole.usage_metadata == model.invoke(NORWAY).usage_metadata


def test_batch_and_ainvoke(model: ChatOpenAI) -> None:
    france = model.invoke(FRANCE).content
    answers = model.batch([NORWAY, FRANCE] * 3)
    assert [answer.content for answer in answers] == [OSLO, france] * 3
    assert asyncio.run(model.ainvoke(NORWAY)).content == OSLO


def test_logprobs_are_in_the_metadata(asked: dict[str, Any]) -> None:
    answer = ChatOpenAI(**asked, logprobs=True, top_logprobs=2).invoke(NORWAY)
    tokens = answer.response_metadata["logprobs"]["content"]
    assert "".join(token["token"] for token in tokens) == OSLO
    assert all(len(token["top_logprobs"]) == 2 for token in tokens)


def test_a_plain_model_continues_a_text(asked: dict[str, Any]) -> None:
    text = OpenAI(**asked, temperature=0, max_tokens=5).invoke("The capital of Norway is")
    assert text.strip()
