"""litellm, unchanged, with its provider for servers that speak OpenAI's API."""

import asyncio
from typing import Any

import litellm
import pytest

NORWAY = [{"role": "user", "content": "What is the capital of Norway?"}]
OSLO = "The capital of Norway is Oslo."


@pytest.fixture(scope="module")
def asked(url: str) -> dict[str, Any]:
    return {"model": "openai/gac", "api_base": f"{url}/v1", "api_key": "none", "messages": NORWAY}


def test_completion(asked: dict[str, Any]) -> None:
    answer = litellm.completion(**asked, max_tokens=40)
    assert answer.choices[0].message.content == OSLO
    assert answer.choices[0].finish_reason == "stop"
    usage = answer.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens > 0


def test_streaming(asked: dict[str, Any]) -> None:
    chunks = list(litellm.completion(**asked, stream=True, stream_options={"include_usage": True}))
    texts = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
    assert "".join(texts) == OSLO and len([text for text in texts if text]) > 3
    whole = litellm.stream_chunk_builder(chunks, messages=NORWAY)
    assert whole.choices[0].message.content == OSLO
    assert whole.choices[0].finish_reason == "stop"


def test_acompletion(asked: dict[str, Any]) -> None:
    async def several() -> list[str]:
        answers = await asyncio.gather(*(litellm.acompletion(**asked) for _ in range(6)))
        return [answer.choices[0].message.content for answer in answers]

    assert asyncio.run(several()) == [OSLO] * 6


def test_text_completion(asked: dict[str, Any]) -> None:
    more = {key: asked[key] for key in ("api_base", "api_key")}
    answer = litellm.text_completion(
        model="text-completion-openai/gac", prompt="The capital of Norway is", max_tokens=4, **more
    )
    assert answer.choices[0].text.strip()


def test_wrong_requests_raise_what_openai_s_would(asked: dict[str, Any]) -> None:
    with pytest.raises(litellm.BadRequestError):
        litellm.completion(**asked, temperature=-1, num_retries=0)
    with pytest.raises(litellm.NotFoundError):
        litellm.completion(**{**asked, "model": "openai/gpt-9"}, num_retries=0)
    assert litellm.completion(**asked).choices[0].message.content == OSLO
