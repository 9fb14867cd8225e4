"""What of an echoed prompt is read, and what is forced; and how the two are told."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gac.core import END, ErrorEvent, Forced, GenerateRequest, Pick
from gac.decoding.flow import Commit, Decide, Query, Strategy
from gac.engine.client_request import ClientRequest
from gac.engine.echo import echoed_prompt
from gac.engine.requests import prepare
from gac.engine.writer import write
from gac.errors import RequestError
from tests.support.collect import Running, Scripted
from tests.support.examples import examples
from tests.support.fake_service import Fakes, fakes_for, started
from tests.support.trios import LONG, members, request_of

ASKED = ClientRequest(messages_list=["the cat"], echo=True, logprobs=1, max_new_tokens=1)


@pytest.fixture(scope="module")
def fakes() -> Iterator[Fakes]:
    with started(fakes_for(max_context=60)) as fakes:
        yield fakes


def prepared(fakes: Fakes, **changes: Any) -> list[GenerateRequest]:
    return prepare(fakes.service.config, fakes.service.started, replace(ASKED, **changes))


@pytest.mark.parametrize("reference", ["ada", "bora"])
@examples(60)
@given(data=st.data())
def test_prompt_is_parted_behind_its_last_control_token(
    fakes: Fakes, reference: str, data: st.DataObject
) -> None:
    token_bytes = fakes.service.started.ensemble.vocabularies[reference].token_bytes
    plain = st.integers(0, len(token_bytes) - 1)
    ids = tuple(data.draw(st.lists(plain, min_size=1, max_size=9)))
    alone = data.draw(st.booleans())
    [one] = prepared(
        fakes,
        messages_list=[ids],
        members=[reference] if alone else None,
        strategy=None if alone else {"name": "threshold", "gate": reference},
    )
    read = one.prompts[reference].ids
    assert read + one.forced.own_ids == ids
    assert read == ids[:1] or not token_bytes[read[-1]]
    assert all(token_bytes[own] for own in one.forced.own_ids)
    assert one.forced.member == reference and END not in one.forced.tokens
    assert len(one.forced.tokens) == len(one.forced.own_ids)
    if alone:
        tokens = fakes.service.started.ensemble.union.tokens
        spelled = [tokens[token] for token in one.forced.tokens]
        assert spelled == [token_bytes[own] for own in one.forced.own_ids]
        assert not one.prompts[reference].lead


@pytest.mark.parametrize("text", ["the cat", "a", " the é\n", "日"])
@pytest.mark.parametrize("changes", [{}, {"members": ["bora"]}, {"n": 2}, {"max_new_tokens": 0}])
def test_events_begin_with_the_tokens_of_the_prompt(
    fakes: Fakes, text: str, changes: dict[str, Any]
) -> None:
    started = fakes.service.started
    requests = prepared(fakes, messages_list=[text], **changes)
    for request, written in zip(requests, write(fakes.service.engine, requests), strict=True):
        [reference, *_] = request.prompts
        prompt = echoed_prompt(request, reference, started.ensemble)
        assert list(prompt.ids) == started.tokenizers[reference].prompts.encode_text(text)
        size = len(prompt.ids) - prompt.num_read
        assert [one.token_bytes for one in written.tokens[:size]] == [
            *prompt.token_bytes[prompt.num_read :]
        ]
        assert all(one.likelihood for one in written.tokens[:size])
        joined = b"".join(prompt.token_bytes)
        begun = request.forced.begun
        before = b"".join(prompt.token_bytes[: prompt.num_read]).removesuffix(begun).decode()
        assert before + "".join(one.text for one in written.tokens[:size]) == joined.decode()
        assert [one.num_shown for one in written.tokens[size - 1 : size]] == [size] * (size > 0)
        assert joined.decode() in (text, f" {text}")
        assert [
            joined[start:].startswith(token)
            for start, token in zip(prompt.offsets, prompt.token_bytes, strict=True)
        ] == [True] * len(prompt.ids)
        assert written.finish.completion_tokens == len(written.tokens) - size
        assert written.finish.prompt_tokens[reference] == len(prompt.ids)


def test_prompt_that_is_echoed_without_likelihoods_is_only_read(fakes: Fakes) -> None:
    [one] = prepared(fakes, logprobs=None)
    [plain] = prepared(fakes, logprobs=None, echo=False)
    assert (one.prompts, one.forced) == (plain.prompts, Forced())
    prompt = echoed_prompt(one, "ada", fakes.service.started.ensemble)
    assert prompt.num_read == len(prompt.ids) and b"".join(prompt.token_bytes) == b"the cat"


@pytest.mark.parametrize(
    ("changes", "param", "words"),
    [
        ({"messages_list": [[{"role": "user", "content": "a"}]]}, "echo", "not a conversation"),
        ({"max_new_tokens": 0, "echo": False}, "max_new_tokens", "at least 1, or 0 with echo"),
        ({"messages_list": [(1,) * 60]}, "messages_list", "whose context holds 60"),
        ({"messages_list": [""]}, "messages_list", "the prompt is empty"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(fakes: Fakes, changes: Any, param: str, words: str) -> None:
    with pytest.raises(RequestError) as raised:
        prepared(fakes, **changes)
    assert raised.value.param == param
    assert words in raised.value.message


def test_full_context_may_be_scored_if_nothing_is_to_follow(fakes: Fakes) -> None:
    requests = prepared(fakes, messages_list=[(100,) * 60], max_new_tokens=0, members=["ada"])
    [written] = write(fakes.service.engine, requests)
    assert len(written.tokens) == 59


def test_strategy_that_picks_by_itself_fails_and_does_not_pretend() -> None:
    def stubborn(names: tuple[str, ...], decide: Decide) -> Strategy:
        while True:
            rows = yield Query(names)
            yield Commit(rows, lambda rows: Pick(rows[0].position, 5, names))

    fakes = members()
    request = replace(request_of(fakes, LONG, "r"), forced=Forced((5, 6, 5)))
    with Running(fakes.ensemble, Scripted(script=stubborn)) as running:
        [written] = running.write([request])
    fakes.close()
    assert len(written.tokens) == 1
    assert isinstance(written.end, ErrorEvent) and "cannot score" in str(written.end.error)
