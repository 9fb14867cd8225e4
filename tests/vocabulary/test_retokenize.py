"""Contexts follow the text: their ids spell it, what they were told stays true, cost is bounded."""

from dataclasses import dataclass, field, replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gac.core import Prompt
from gac.vocabulary.member_vocabulary import MemberVocabulary
from gac.vocabulary.retokenize import HARD_LIMIT, WINDOW, MemberContext, window_start
from gac.vocabulary.text_encoder import CannotSpell, TextEncoder
from tests.support.examples import examples
from tests.support.fakes import byte_level_definition, fake_vocabulary, unigram_definition

WORDS = ["th", "the", " the", "ab", "abab", "  ", "é", "👍", "\n\n", "a b"]
VOCABULARIES = {
    "byte-level": fake_vocabulary("b", byte_level_definition(WORDS)),
    "unigram": fake_vocabulary("u", unigram_definition([*"abthe \n", *WORDS])),
}
TOKENS = st.lists(
    st.one_of(
        st.text("abthe \né👍\u2581", min_size=1, max_size=6).map(str.encode),
        st.binary(min_size=1, max_size=3),
        st.sampled_from([b"\xf0\x9f", b"\x91\x8d", b"\xc3", b" the", b"</s>", b"<0x41>"]),
    ),
    max_size=60,
)
KINDS = st.sampled_from(sorted(VOCABULARIES))
RULES = st.sampled_from(["canonical", "append"])


def context(kind: str, rule: str, lead: bool = False) -> MemberContext:
    return MemberContext.start(VOCABULARIES[kind], rule, Prompt((1, 2, 3), lead))


def tail_bytes(ctx: MemberContext) -> bytes:
    return ctx.vocabulary.spell(ctx.ids[ctx.num_prompt_ids :])


@examples(400)
@given(st.one_of(st.binary(max_size=1500), st.text("ab \né", max_size=1200).map(str.encode)))
def test_the_window_is_bounded_and_starts_at_a_border(text: bytes) -> None:
    start, floor = window_start(text), max(0, len(text) - HARD_LIMIT)
    borders = [
        place
        for place in range(floor + 1, len(text) - WINDOW + 1)
        if text[place : place + 1].isspace() and not text[place - 1 : place].isspace()
    ]
    if borders:
        assert start == borders[-1]
    else:
        assert floor <= start <= floor + 3


@pytest.mark.parametrize("size", [WINDOW, HARD_LIMIT, HARD_LIMIT + 1, 2000])
@pytest.mark.parametrize("filling", ["a", " ", "é", "👍", "\u65e5"])
def test_text_without_borders_is_cut_between_characters(size: int, filling: str) -> None:
    text = (filling * size).encode()
    start = window_start(text)
    text[:start].decode()
    assert start <= max(0, len(text) - HARD_LIMIT + 3)
    assert start >= len(text) - HARD_LIMIT


def test_bytes_that_are_no_characters_do_not_shrink_the_window() -> None:
    assert window_start(b"\x80" * 2000) == 2000 - HARD_LIMIT


def test_the_window_takes_the_last_border_far_enough_back() -> None:
    text = b"one two  " + b"x" * (WINDOW - 2)
    assert window_start(text) == 7
    assert window_start(text[:-1]) == 3
    assert window_start(b"one" + b" " * WINDOW) == 3


@examples(300)
@given(KINDS, RULES, st.booleans(), TOKENS, st.randoms(use_true_random=False))
def test_ids_spell_the_text_and_what_was_told_stays_true(
    kind: str, rule: str, lead: bool, tokens: list[bytes], random: Random
) -> None:
    ctx = context(kind, rule, lead)
    remembered: list[int] = []
    text = b""
    for token in tokens:
        assert ctx.at_lead == (lead and not text)
        ctx.commit(token, owned=random.random() < 0.5)
        text += token
        assert not ctx.abstains
        assert tail_bytes(ctx) == (b" " if lead else b"") + text == bytes(ctx.text)
        assert ctx.ids[:3] == [1, 2, 3]
        assert ctx.ids[: ctx.told] == remembered[: ctx.told]
        assert [
            len(VOCABULARIES[kind].spell(ctx.ids[3 : 4 + k])) for k in range(len(ctx.ends))
        ] == (ctx.ends)
        if random.random() < 0.4:
            remembered = [*remembered[: ctx.told], *ctx.ids[ctx.told :]]
            assert remembered == ctx.ids
            ctx.told = len(ctx.ids)


@examples(200)
@given(KINDS, TOKENS)
def test_append_keeps_every_id_and_adds_the_encoded_token(kind: str, tokens: list[bytes]) -> None:
    ctx = context(kind, "append")
    ctx.told = 3
    for token in tokens:
        before = list(ctx.ids)
        ctx.commit(token, owned=False)
        assert ctx.ids == [*before, *VOCABULARIES[kind].encoder.encode(token)]
        assert ctx.told == 3


@examples(200)
@given(KINDS, st.booleans(), TOKENS)
def test_canonical_is_the_encoded_text_while_the_text_is_short(
    kind: str, lead: bool, tokens: list[bytes]
) -> None:
    ctx, text = context(kind, "canonical", lead), b" " * lead
    for token in tokens:
        text += token
        if len(text) >= WINDOW:
            return
        ctx.commit(token, owned=False)
        assert ctx.ids[3:] == VOCABULARIES[kind].encoder.encode(text)


@examples(100)
@given(KINDS, RULES, st.lists(st.integers(0, 10_000), max_size=40))
def test_a_member_that_owns_every_token_keeps_its_own_ids(kind: str, rule: str, picks) -> None:
    vocabulary = VOCABULARIES[kind]
    tokens = sorted(vocabulary.canonical)
    chosen = [tokens[pick % len(tokens)] for pick in picks]
    ctx = context(kind, rule)
    for token in chosen:
        ctx.commit(token, owned=True)
    assert ctx.ids[3:] == [vocabulary.canonical[token] for token in chosen]


def test_the_dummy_space_belongs_to_the_first_token() -> None:
    vocabulary = VOCABULARIES["unigram"]
    ctx = context("unigram", "append", lead=True)
    ctx.commit(b"the", owned=True)
    assert ctx.ids[3:] == [vocabulary.canonical[b" the"]]
    ctx.commit(b"the", owned=True)
    assert ctx.ids[4:] == [vocabulary.canonical[b"the"]]
    assert bytes(ctx.text) == b" thethe"


def lacking(byte: int) -> MemberVocabulary:
    """A vocabulary that cannot spell one byte: its only token for it ends texts."""
    whole = VOCABULARIES["byte-level"]

    @dataclass
    class Encoder:
        def encode(self, text: bytes) -> list[int]:
            if byte in text:
                raise CannotSpell("no")
            return whole.encoder.encode(text)

    return replace(whole, encoder=Encoder())  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", ["canonical", "append"])
def test_a_member_that_cannot_spell_the_text_abstains_for_good(rule: str) -> None:
    ctx = MemberContext.start(lacking(ord("~")), rule, Prompt((1,)))
    ctx.commit(b"ab", owned=False)
    ids = list(ctx.ids)
    ctx.commit(b"~", owned=False)
    assert ctx.abstains
    ctx.commit(b"ab", owned=True)
    assert ctx.abstains
    assert ctx.ids == ids
    assert bytes(ctx.text) == b"ab~ab"


@dataclass
class SpyingEncoder:
    """Counts what it is asked to encode."""

    encoder: TextEncoder
    sizes: list[int] = field(default_factory=list)

    def encode(self, text: bytes) -> list[int]:
        self.sizes.append(len(text))
        return self.encoder.encode(text)


@pytest.mark.parametrize("kind", sorted(VOCABULARIES))
@pytest.mark.parametrize("rule", ["canonical", "append"])
@pytest.mark.parametrize("token", [b"a", b" the", "\u65e5".encode(), b"\x80", b" ", b"abab"])
def test_the_cost_of_a_commit_does_not_grow_with_the_text(kind, rule, token) -> None:
    vocabulary = VOCABULARIES[kind]
    spy = SpyingEncoder(vocabulary.encoder)
    spied = replace(vocabulary, encoder=spy)  # type: ignore[arg-type]
    ctx = MemberContext.start(spied, rule, Prompt((1,)))
    for _ in range(900):
        ctx.commit(token, owned=False)
    longest = max(map(len, vocabulary.token_bytes))
    assert max(spy.sizes) <= HARD_LIMIT + longest + len(token)
    if token == b" the" and rule == "canonical":
        assert max(spy.sizes) <= WINDOW + 2 * len(token) + longest
    assert len(spy.sizes) == 900
    assert tail_bytes(ctx) == token * 900
