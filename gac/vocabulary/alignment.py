"""What a member has to compute so that a draft in another vocabulary can be scored in one pass."""

from collections.abc import Sequence

from gac.vocabulary.retokenize import MemberContext


def scored_ids(
    context: MemberContext, tokens: Sequence[bytes], max_ids: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The ids that spell drafted tokens behind a context's own, and how many ids each token ends.

    The commit rule is replayed token by token, the member owning none of them.  It stops at
    `max_ids` more ids, and before a token that changes ids in front of it: past that, one pass
    cannot give the rows that token by token would.  Whether a position's row counts is seen later,
    when owners are known: its ids must be those that were scored.
    """
    ahead = context.copy()
    ids: list[int] = []
    ends: list[int] = []
    for token in tokens:
        before = ahead.told = len(ahead.ids)
        ahead.commit(token, owned=False)
        added = ahead.ids[before:]
        if ahead.abstains or ahead.told < before or len(ids) + len(added) > max_ids:
            break
        ids += added
        ends.append(len(ids))
    return tuple(ids), tuple(ends)
