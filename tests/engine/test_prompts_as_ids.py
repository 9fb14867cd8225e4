"""Prompts as ids: verbatim for the reference member, the text that they spell for the others."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gac.core import Prompt
from gac.engine.client_request import ClientRequest
from gac.engine.prompts import build_prompts
from gac.engine.requests import prepare
from gac.errors import RequestError
from gac.model.templates import MemberTokenizer
from tests.support.examples import examples
from tests.support.fake_service import Fakes, fakes_for, started

PIECES = ["the", " the", " cat", "é", "日", "\n", " ", "a", "<|end|>", "</s>", "</", "s>", "👍"]


@pytest.fixture(scope="module")
def fakes() -> Iterator[Fakes]:
    with started(fakes_for(max_context=40)) as fakes:
        yield fakes


def tokenizers_of(fakes: Fakes) -> Mapping[str, MemberTokenizer]:
    return fakes.service.started.tokenizers


def read(fakes: Fakes, ids: tuple[int, ...], reference: str) -> dict[str, Prompt]:
    return build_prompts(tokenizers_of(fakes), ids, False, reference)


@pytest.mark.parametrize("reference", ["ada", "bora"])
@examples(60)
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=12))
def test_ids_of_a_text_are_read_as_that_text(
    fakes: Fakes, reference: str, pieces: list[str]
) -> None:
    text = "".join(pieces)
    tokenizers = tokenizers_of(fakes)
    of_text = build_prompts(tokenizers, text, False, reference)
    assert read(fakes, of_text[reference].ids, reference) == of_text


@pytest.mark.parametrize("reference", ["ada", "bora"])
@examples(60)
@given(data=st.data())
def test_any_ids_are_verbatim_and_their_bytes_reach_the_others(
    fakes: Fakes, reference: str, data: st.DataObject
) -> None:
    tokenizers = tokenizers_of(fakes)
    own = tokenizers[reference]
    count = len(own.vocabulary.token_bytes)
    ids = tuple(data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=9)))
    prompts = read(fakes, ids, reference)
    assert prompts[reference] == Prompt(ids)
    [other] = tokenizers.keys() - {reference}
    reading, text = tokenizers[other], own.text_of(ids)
    if not text:
        assert prompts[other] == Prompt((reading.start,))
    else:
        assert reading.text_of(prompts[other].ids) == text


def test_bytes_that_are_no_utf8_are_spelled_one_by_one(fakes: Fakes) -> None:
    ada, bora = (tokenizers_of(fakes)[name].vocabulary for name in ("ada", "bora"))
    ids = tuple(ada.canonical[bytes([byte])] for byte in b"a\xe6\x97")
    [dummy, *spelled] = read(fakes, ids, "ada")["bora"].ids
    assert bora.token_bytes[dummy] == b" a" or bora.spell([dummy]) == b" "
    assert bora.spell([dummy, *spelled]) == b" a\xe6\x97"


def test_special_ids_alone_are_the_start_of_a_text(fakes: Fakes) -> None:
    for reference, other in (("ada", "bora"), ("bora", "ada")):
        tokenizers = tokenizers_of(fakes)
        [stop] = tokenizers[reference].vocabulary.stop_ids
        prompts = read(fakes, (stop,), reference)
        assert prompts[reference].ids == (stop,)
        assert set(prompts[other].ids) == tokenizers[other].vocabulary.stop_ids


@pytest.mark.parametrize(
    ("changes", "param", "words"),
    [
        ({"messages_list": ["a", (1, -1)]}, "messages_list[1][1]", "-1 is no token id of member"),
        ({"messages_list": [(10**9,)]}, "messages_list[0][0]", "'ada', they are 0 to 26"),
        ({"messages_list": [()]}, "messages_list[0]", "at least 1"),
        ({"messages_list": [(5,) * 40]}, "messages_list", "whose context holds 40"),
        ({"messages_list": [(5,)], "apply_chat_template": True}, "apply_chat_template", "as ids"),
        ({"messages_list": [(260,)], "members": ["ada"]}, None, ""),
        ({"messages_list": [(266,)], "members": ["bora"]}, None, ""),
        (
            {"messages_list": [(9999,)], "members": ["bora"]},
            "messages_list[0][0]",
            "of member 'bora'",
        ),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(fakes: Fakes, changes: Any, param: str | None, words: str) -> None:
    request = ClientRequest(**changes)
    if param is None:
        [one] = prepare(fakes.service.config, fakes.service.started, request)
        [prompt] = one.prompts.values()
        assert [prompt.ids] == request.messages_list
        return
    with pytest.raises(RequestError) as raised:
        prepare(fakes.service.config, fakes.service.started, request)
    assert raised.value.param == param
    assert words in raised.value.message
