"""Rows beyond the text: a member generates ahead by itself, or what is known is scored in one pass.

Known are forced tokens, and those that another member drafted.  They are committed one by one as
the strategy decides, and drafted ones are dropped from the first that differs on.  So the text is
the same as without, but for the rounding of passes of other shapes (float32; ties within 1e-4 are
counted and printed by the equality tests).
"""

from collections.abc import Mapping

from gac.core import Draft, Extend, GenerateRequest
from gac.decoding.flow import Query
from gac.engine.completion import Listing
from gac.engine.known import Known
from gac.engine.speculation import Drafts
from gac.vocabulary.alignment import ScoredIds, scored_ids
from gac.vocabulary.union import UnionVocabulary

FORCED_IDS = 64
"""Ids of forced tokens that a member is told at a time; each may need a row of its vocabulary."""
RUN_AHEAD = 8
"""Tokens that a member may generate by itself before it answers; a stop or abort wastes as many."""


class Ahead:
    """One sequence's work ahead; `drafts` where one member may write for others to score."""

    def __init__(
        self,
        request: GenerateRequest,
        known: Mapping[str, Known],
        limits: Mapping[str, int],
        union: UnionVocabulary,
        drafts: Drafts | None,
    ) -> None:
        self._request = request
        self._known = known
        self._limits = limits
        self._union = union
        self._drafts = drafts
        self._num_drafts = 0

    @property
    def drafter(self) -> str | None:
        """The member that drafts tokens after the open query, for the others to score, if any."""
        if self._drafts is None or self._num_drafts == 0:
            return None
        return self._drafts.shared.drafter

    def reach(self, num_tokens: int) -> int:
        """The most ids that anybody gets ahead: those who score may need several for a token."""
        drafted = 2 * self._drafts.shared.max_tokens if self._drafts else 0
        return max(RUN_AHEAD, drafted, FORCED_IDS if self.forced(num_tokens) else 0)

    def leave_to_the_strategy(self) -> None:
        """Draft no more: the strategy asks for drafts by itself, as SAFE does."""
        self._drafts, self._num_drafts = None, 0

    def begin(self, query: Query, num_tokens: int, endless: bool) -> None:
        """A query opens: where all members are asked and the draft is used up, begin another.

        Never at the first token: it would delay it.
        """
        if self._drafts is None or num_tokens < self._request.num_forced:
            self._num_drafts = 0
            return
        drafter = self._drafts.shared.drafter
        is_joint = len(query.members) == len(self._known) > 1 and drafter in self._known
        if not is_joint or num_tokens == 0 or self._known[drafter].context.abstains:
            self._num_drafts = 0
        elif self._known[drafter].row(endless) is None:
            self._num_drafts = self._drafts.choose(self._room(drafter, num_tokens))

    def ask(
        self, member: str, query: Query, budget: int, num_tokens: int, listing: Listing
    ) -> Extend:
        """The message that asks for the row of a query, and for rows beyond it."""
        known = self._known[member]
        draft = self.draft(member, query, num_tokens)
        scored = self.scored(member, budget - known.num_missing, num_tokens)
        listing = listing.of(self.forced(num_tokens)[: len(scored[1]) + 1])
        num_endless = self._request.num_endless(num_tokens)
        return known.ask(num_endless, draft, scored, listing.dense, listing.entries)

    def num_further(self, num_tokens: int) -> int:
        """About how many ids beyond the text a message tells because they are forced."""
        return max(0, len(self.forced(num_tokens)) - 1)

    def draft(self, member: str, query: Query, num_tokens: int) -> Draft | None:
        """How a member may draft tokens after the row it is asked for; None if it may not."""
        until, count = query.until, RUN_AHEAD
        if member == self.drafter:
            until, count = 0.0, self._num_drafts
        count = min(count, self._room(member, num_tokens))
        written = num_tokens - self._request.num_forced
        if until is None or count < 1 or num_tokens == 0 or written < 0:
            return None
        return Draft(count, until, self._request.sampling, written)

    def _room(self, member: str, num_tokens: int) -> int:
        """How many tokens may be drafted: the next one is left to be picked."""
        length = len(self._known[member].context.ids)
        return min(self._request.most_tokens - num_tokens, self._limits[member] - length) - 1

    def forced(self, num_tokens: int) -> tuple[int, ...]:
        """Tokens (union ids) that are to follow the text, and are scored ahead."""
        return self._request.forced.tokens[num_tokens : num_tokens + FORCED_IDS]

    def scored(self, member: str, budget: int, num_tokens: int) -> ScoredIds:
        """What is known beyond the text, as a member that does not write it would have it.

        It is forced, or another member drafted it.
        """
        if forced := self.forced(num_tokens):
            return self._scored_forced(member, budget, num_tokens, forced)
        drafter = self.drafter
        if drafter is None or member == drafter or not self._known[drafter].ahead:
            return (), ()
        spelled = self._known[drafter].context.vocabulary.token_bytes
        drafted = [spelled[own_id] for own_id in self._known[drafter].ahead]
        context = self._known[member].context
        room = self._limits[member] - len(context.ids) - 1
        return scored_ids(context, drafted, min(budget, room, self.reach(num_tokens)))

    def _scored_forced(
        self, member: str, budget: int, num_tokens: int, forced: tuple[int, ...]
    ) -> ScoredIds:
        request, context = self._request, self._known[member].context
        tokens = [self._union.tokens[token] for token in scored_ahead(request, forced, num_tokens)]
        room = self._limits[member] - len(context.ids) - 1
        return scored_ids(context, tokens, min(budget, room, FORCED_IDS))

    def commit(self, token: bytes, owners: tuple[str, ...]) -> None:
        """Take a token into every context, and note whether it was the one drafted."""
        drafter = self.drafter
        was_ahead = drafter is not None and bool(self._known[drafter].ahead)
        for name, known in self._known.items():
            known.commit(token, name in owners)
        if self._drafts is not None and drafter is not None and was_ahead:
            self._drafts.note(accepted=self._known[drafter].is_level)


def scored_ahead(
    request: GenerateRequest, forced: tuple[int, ...], num_tokens: int
) -> tuple[int, ...]:
    """Of forced tokens that follow the first `num_tokens`, those behind which a row is wanted now.

    Not the last of all if nothing is written after it, or END is excluded there, which a message
    could not say.
    """
    is_wanted = request.max_new_tokens > 0 and not request.num_endless(request.num_forced)
    is_last = num_tokens + len(forced) == request.num_forced
    return forced[:-1] if is_last and not is_wanted else forced
