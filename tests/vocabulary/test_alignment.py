"""What one pass can score of a draft: ids the commit rule gives, and none in front changed.

Or how a member sees text and draft as one.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gac.core import Prompt
from gac.vocabulary.alignment import look_ahead, num_final, scored_ids
from gac.vocabulary.retokenize import MemberContext
from tests.support.examples import examples
from tests.support.fakes import byte_level_definition, fake_vocabulary

VOCABULARY = fake_vocabulary("m", byte_level_definition(["ab", "abc", " a", "ca"], missing=b"~"))
TOKENS = st.sampled_from([b"a", b"b", b"c", b" ", b"ab", b"bc", b" a", b"\xc3", b"~", b"cab"])


@examples(300)
@given(
    written=st.lists(TOKENS.filter(lambda token: token != b"~"), max_size=4),
    drafted=st.lists(TOKENS, min_size=1, max_size=5),
    rule=st.sampled_from(["canonical", "append"]),
    max_ids=st.integers(-1, 8),
)
def test_scored_ids_are_those_of_the_commit_rule_up_to_a_changed_one(
    written, drafted, rule, max_ids
) -> None:
    context = MemberContext.start(VOCABULARY, rule, Prompt((7, 8)))
    for token in written:
        context.commit(token, owned=False)
    before = context.copy()
    ids, ends = scored_ids(context, drafted, max_ids)
    assert context == before, "the context itself is not touched"
    assert len(ids) <= max(0, max_ids) and len(ends) <= len(drafted)
    known = [*context.ids]
    for place, token in enumerate(drafted):
        context.commit(token, owned=False)
        is_scored = place < len(ends)
        fits = context.ids[: len(known)] == known and not context.abstains
        fits = fits and len(context.ids) <= len(before.ids) + max_ids
        assert is_scored == fits
        if not fits:
            return
        known = [*before.ids, *ids[: ends[place]]]
        assert context.ids == known


INCORRECT = byte_level_definition(["Incorrect", " Incorrect", "ab"])
"""Merges from the left: `In`, `Inc` ... are tokens, too."""


def context_of(definition: str, rule: str, text: bytes) -> MemberContext:
    context = MemberContext.start(fake_vocabulary("v", definition), rule, Prompt((65, 66)))
    context.commit(text, owned=False)
    return context


@pytest.mark.parametrize(
    ("text", "tokens", "places"),
    [
        (b"x", [b"Inc", b"orr", b"ect"], (3, None, None)),
        (b"x", [b"Inc", b"orr", b"ect", b"", b""], (3, None, None, 4, 4)),
        (b"Inc", [b"orr", b"ect", b" a"], (None, None, 3)),
        (b"x", [b"Inc", b"x"], (3, 4)),
        (b"a", [b"b", b"a"], (None, 3)),
        (b"x", [], ()),
    ],
)
def test_draft_is_seen_in_the_tokens_of_the_whole_text(text, tokens, places) -> None:
    """Inc|orr|ect against Incorrect, the example of SAFE's section 3.2."""
    context = context_of(INCORRECT, "canonical", text)
    before = context.copy()
    ahead = look_ahead(context, tokens)
    assert ahead.places == places
    assert context.vocabulary.spell(ahead.ids[2:]) == text + b"".join(tokens)
    assert context == before


def test_under_append_every_token_is_seen_by_itself() -> None:
    context = context_of(INCORRECT, "append", b"x")
    ahead = look_ahead(context, [b"Inc", b"orr", b"ect"])
    assert ahead.places == (3, 4, 7)
    assert len(ahead.ids) == 10


def test_draft_is_seen_up_to_what_cannot_be_spelled() -> None:
    context = context_of(byte_level_definition(["ab"], missing=b"!"), "canonical", b"x")
    ahead = look_ahead(context, [b"a", b"b", b"!", b"a"])
    assert ahead.places == (3, None) and len(ahead.ids) == 4
    assert not context.abstains


@pytest.mark.parametrize(
    ("tokens", "count"),
    [
        ([b"In", b"cor"], 0),
        ([b"In", b"cor", b" a"], 2),
        ([b"In ", b"cor"], 1),
        ([b" In", b"cor"], 0),
        ([b"In", b" ", b" ", b"c"], 1),
        ([b"In", b"c\n", b"\n", b"x y"], 4),
        ([], 0),
    ],
)
def test_tokens_are_final_that_start_before_the_last_end_of_a_word(tokens, count) -> None:
    assert num_final(tokens) == count


@examples(150)
@given(
    text=st.text("ab c", min_size=1, max_size=90),
    tokens=st.lists(st.text("ab c", min_size=1, max_size=4), min_size=1, max_size=9),
    more=st.text("ab c", max_size=9),
)
def test_what_is_final_stays_whatever_follows(text, tokens, more) -> None:
    """The member splits texts at blanks, as nearly all do."""
    context = context_of(
        byte_level_definition([" ab", "abc", "ca", "b "]), "canonical", text.encode()
    )
    drafted = [token.encode() for token in tokens]
    count = num_final(drafted)
    now, later = (look_ahead(context, given) for given in (drafted, [*drafted, more.encode()]))
    assert now.places[:count] == later.places[:count]
    for place in now.places[:count]:
        if place is not None:
            assert now.ids[: place + 1] == later.ids[: place + 1]
