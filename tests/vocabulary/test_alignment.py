"""What one pass can score of a draft: ids the commit rule gives, and none in front changed."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gac.core import Prompt
from gac.vocabulary.alignment import scored_ids
from gac.vocabulary.retokenize import MemberContext
from tests.fakes import byte_level_definition, fake_vocabulary

VOCABULARY = fake_vocabulary("m", byte_level_definition(["ab", "abc", " a", "ca"], missing=b"~"))
TOKENS = st.sampled_from([b"a", b"b", b"c", b" ", b"ab", b"bc", b" a", b"\xc3", b"~", b"cab"])


@settings(max_examples=300, deadline=None, derandomize=True)
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
