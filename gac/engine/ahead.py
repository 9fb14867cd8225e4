"""Speculative decoding: a member generates ahead by itself, or drafts for the others to score.

Drafted tokens are committed one by one as the strategy decides, and dropped from the first that
differs on.  So the text is the same as without, but for the rounding of passes of other shapes
(float32; ties within 1e-4 are counted and printed by the equality tests).
"""

from collections.abc import Mapping

from gac.core import Draft, GenerateRequest
from gac.decoding.flow import Query
from gac.engine.known import Known
from gac.engine.speculation import Drafts
from gac.vocabulary.alignment import ScoredIds, scored_ids

RUN_AHEAD = 8
"""Tokens that a member may generate by itself before it answers; a stop or abort wastes as many."""


class Ahead:
    """One sequence's work ahead; `drafts` where one member may write for others to score."""

    def __init__(
        self,
        request: GenerateRequest,
        known: Mapping[str, Known],
        limits: Mapping[str, int],
        drafts: Drafts | None,
    ) -> None:
        self._request = request
        self._known = known
        self._limits = limits
        self._drafts = drafts
        self._num_drafts = 0

    @property
    def drafter(self) -> str | None:
        """The member that drafts tokens after the open query, for the others to score, if any."""
        if self._drafts is None or self._num_drafts == 0:
            return None
        return self._drafts.shared.drafter

    @property
    def reach(self) -> int:
        """The most ids that anybody gets ahead: those who score may need several for a token."""
        return max(RUN_AHEAD, 2 * self._drafts.shared.max_tokens if self._drafts else 0)

    def leave_to_the_strategy(self) -> None:
        """Draft no more: the strategy asks for drafts by itself, as SAFE does."""
        self._drafts, self._num_drafts = None, 0

    def begin(self, query: Query, num_tokens: int, endless: bool) -> None:
        """A query opens: where all members are asked and the draft is used up, begin another.

        Never at the first token: it would delay it.
        """
        if self._drafts is None:
            return
        drafter = self._drafts.shared.drafter
        is_joint = len(query.members) == len(self._known) > 1 and drafter in self._known
        if not is_joint or num_tokens == 0 or self._known[drafter].context.abstains:
            self._num_drafts = 0
        elif self._known[drafter].row(endless) is None:
            self._num_drafts = self._drafts.choose(self._room(drafter, num_tokens))

    def draft(self, member: str, query: Query, num_tokens: int) -> Draft | None:
        """How a member may draft tokens after the row it is asked for; None if it may not."""
        until, count = query.until, RUN_AHEAD
        if member == self.drafter:
            until, count = 0.0, self._num_drafts
        count = min(count, self._room(member, num_tokens))
        if until is None or count < 1 or num_tokens == 0:
            return None
        return Draft(count, until, self._request.sampling, num_tokens)

    def _room(self, member: str, num_tokens: int) -> int:
        """How many tokens may be drafted: the next one is left to be picked."""
        length = len(self._known[member].context.ids)
        return min(self._request.max_new_tokens - num_tokens, self._limits[member] - length) - 1

    def scored(self, member: str, budget: int) -> ScoredIds:
        """What is drafted beyond the text, as a member other than the drafter would have it."""
        drafter = self.drafter
        if drafter is None or member == drafter or not self._known[drafter].ahead:
            return (), ()
        spelled = self._known[drafter].context.vocabulary.token_bytes
        drafted = [spelled[own_id] for own_id in self._known[drafter].ahead]
        context = self._known[member].context
        room = self._limits[member] - len(context.ids) - 1
        return scored_ids(context, drafted, min(budget, room, self.reach))

    def commit(self, token: bytes, owners: tuple[str, ...]) -> None:
        """Take a token into every context, and note whether it was the one drafted."""
        drafter = self.drafter
        was_ahead = drafter is not None and bool(self._known[drafter].ahead)
        for name, known in self._known.items():
            known.commit(token, name in owners)
        if self._drafts is not None and drafter is not None and was_ahead:
            self._drafts.note(accepted=self._known[drafter].is_level)
