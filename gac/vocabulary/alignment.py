"""What a member has to compute so that a draft in another vocabulary can be scored in one pass."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from gac.vocabulary.retokenize import MemberContext, is_border
from gac.vocabulary.text_encoder import CannotSpell

ScoredIds = tuple[tuple[int, ...], tuple[int, ...]]
"""Ids beyond a context's, and after how many of them rows are wanted."""


def scored_ids(
    context: MemberContext, tokens: Sequence[bytes], max_ids: int, owned: bool = False
) -> ScoredIds:
    """The ids that spell known tokens behind a context's own, and how many ids each token ends.

    The commit rule is replayed token by token, the member owning all or none of them.  It stops at
    `max_ids` more ids, and before a token that changes ids in front of it: past that, one pass
    cannot give the rows that token by token would.  Whether a position's row counts is seen later,
    when owners are known: its ids must be those that were scored.
    """
    ahead = context.copy()
    ids: list[int] = []
    ends: list[int] = []
    for token in tokens:
        before = ahead.told = len(ahead.ids)
        ahead.commit(token, owned)
        added = ahead.ids[before:]
        if ahead.abstains or ahead.told < before or len(ids) + len(added) > max_ids:
            break
        ids += added
        ends.append(len(ids))
    return tuple(ids), tuple(ends)


@dataclass(frozen=True, slots=True)
class LookAhead:
    """A context's text with a draft behind it, in the member's ids: all of them, in one go.

    `places[n]` is the number of ids in front of drafted token n, None where an id reaches across
    its start.  There are as many places as tokens that the member can spell.
    """

    ids: list[int]
    places: tuple[int | None, ...]


def look_ahead(context: MemberContext, tokens: Sequence[bytes]) -> LookAhead:
    """Encode the end of a context's text together with a draft.

    Source: SAFE (arXiv 2510.15346) section 3.2, where all of the text is encoded; the end that a
    commit encodes again is enough.  Under `append` it is T(x) of every token, as the commit rule
    has it, and all places are there.
    """
    for count in range(_num_spelled(context, tokens), -1, -1):
        try:
            start, tail = context.spell_ahead(tokens[:count])
            break
        except CannotSpell:  # the end of the text is encoded otherwise than token by token
            continue
    else:
        return LookAhead([*context.ids], ())
    place = context.num_prompt_ids + start
    spelled = context.vocabulary.token_bytes
    offset = context.ends[start - 1] if start else 0
    offsets = list(accumulate((len(spelled[i]) for i in tail), initial=offset))
    index = {offset: place + n for n, offset in enumerate(offsets)}
    starts = accumulate((len(token) for token in tokens[:count]), initial=len(context.text))
    places = tuple(index.get(start) for _, start in zip(range(count), starts, strict=False))
    return LookAhead([*context.ids[:place], *tail], places)


def _num_spelled(context: MemberContext, tokens: Sequence[bytes]) -> int:
    """How many tokens the member can follow before it abstains."""
    if not context.vocabulary.encoder.missing_bytes:
        return len(tokens)
    ahead = context.copy()
    for count, token in enumerate(tokens):
        ahead.commit(token, owned=False)
        if ahead.abstains:
            return count
    return len(tokens)


def num_final(tokens: Sequence[bytes]) -> int:
    """How many tokens of a draft start before its last border between words.

    What follows does not change how a member tokenises the text before that border, as long as none
    of its tokens reaches across it; hardly any does (see `is_border`).
    """
    text = b"".join(tokens)
    last = next((p for p in range(len(text) - 1, 0, -1) if is_border(text, p)), 0)
    starts = accumulate((len(token) for token in tokens), initial=0)
    return sum(start < last for start in starts)
