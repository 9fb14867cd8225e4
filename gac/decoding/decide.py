"""Rows of one position -> the token that is committed there, and who owns it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gac.core import Forced, Pick, Row, Sampling
from gac.decoding.combine import Aggregate, Mean, Vote, arithmetic, owners, voters
from gac.decoding.conflict import ConflictGuard
from gac.decoding.forced import forced_pick
from gac.decoding.greedy import clear_winner
from gac.decoding.penalties import Penalise
from gac.decoding.sampling import needs_all_entries, pick_token
from gac.decoding.support import TokenOrder


@dataclass(frozen=True, slots=True)
class Decider:
    """Aggregate, then pick: greedy or by one draw from the combined distribution.

    A single row is used as it is, without the aggregation.  Rows of members with weight 0 are left
    out if another row's member has a weight.  With `is_dense` the aggregation needs all entries,
    and unless `is_normalised` its values need not sum to 1.  With `penalise` what is combined is
    changed before the pick; nothing else is.  The `forced` tokens are picked first.
    """

    weights: Mapping[str, float]
    sampling: Sampling
    order: TokenOrder
    aggregate: Aggregate = arithmetic
    is_dense: bool = False
    is_normalised: bool = True
    guard: ConflictGuard | None = None
    penalise: Penalise | None = None
    forced: Forced = Forced()

    @property
    def needs_all_entries(self) -> bool:
        """Whether a pick always needs all entries, so that they are asked for at once."""
        penalise = self.penalise
        needs_sum = penalise is not None and penalise.needs_probabilities
        needs_sum = needs_sum and not self.is_normalised
        return self.is_dense or needs_sum or needs_all_entries(self.sampling)

    def __call__(self, rows: Sequence[Row]) -> Pick | None:
        """The pick of these rows, all of one position; None where more entries are needed.

        What is picked from some entries is what all entries would give.
        """
        position = rows[0].position
        heard, aggregate = self._voting(rows)
        if position < len(self.forced.tokens):
            vote = aggregate(heard, self.weights)
            return None if vote is None else forced_pick(self.forced, position, vote)
        is_plain = self.guard is None and self.penalise is None and aggregate is arithmetic
        if is_plain and self.sampling.temperature == 0.0:
            winner = clear_winner(heard, self.weights)
            if winner is not None:
                return Pick(position, *winner)
        if aggregate is arithmetic and needs_all_entries(self.sampling):
            if not all(row.entries.is_complete for row in heard):
                return None
        vote = aggregate(heard, self.weights)
        if vote is None:
            return None
        token = self._token(vote.mean, aggregate, position)
        if token is not None and self.guard is not None:
            token = self.guard.keep(heard, self.weights, token, self.penalise)
        if token is None:
            return None
        owning = owners(vote.rows, vote.weights, token)
        return None if owning is None else Pick(position, token, owning)

    def _token(self, mean: Mean, aggregate: Aggregate, position: int) -> int | None:
        """The token picked from what some rows combine to; None where more entries are needed."""
        changed: Mean | None = mean
        if self.penalise is not None:
            if self.penalise.needs_probabilities:
                changed = self._normalised(mean, aggregate)
            changed = None if changed is None else self.penalise(changed, position)
        if changed is None:
            return None
        place = position - len(self.forced.tokens)  # draws are those of the text without these
        return pick_token(changed, self.sampling, place, self.order)

    def _voting(self, rows: Sequence[Row]) -> tuple[list[Row], Aggregate]:
        """The rows that count, and the aggregation for them."""
        heard = voters(rows, self.weights)
        return heard, self.aggregate if len(heard) > 1 else arithmetic

    def vote(self, rows: Sequence[Row]) -> Vote | None:
        """What the rows combine to; None where more entries are needed."""
        heard, aggregate = self._voting(rows)
        return aggregate(heard, self.weights)

    def distribution(self, rows: Sequence[Row]) -> Mean | None:
        """What the rows combine to, summing to 1 as they do; None where more entries are needed."""
        heard, aggregate = self._voting(rows)
        vote = aggregate(heard, self.weights)
        return None if vote is None else self._normalised(vote.mean, aggregate)

    def _normalised(self, mean: Mean, aggregate: Aggregate) -> Mean | None:
        """What an aggregation gave, summing to 1; None where its sum is not known."""
        if aggregate is arithmetic or self.is_normalised:
            return mean
        if not mean.is_complete:
            return None
        # Rounded, so that the order in which they were added changes nothing.
        values = mean.low / float(np.float32(mean.low.sum()))
        return replace(mean, low=values, high=values)

    def overruled(self, rows: Sequence[Row], pick: Pick) -> int | None:
        """The ensemble's token (union id), where the guard has kept the anchor's: the pick."""
        heard, aggregate = self._voting(rows)
        is_forced = pick.position < len(self.forced.tokens)
        vote = None if self.guard is None or is_forced else aggregate(heard, self.weights)
        if vote is None:
            return None
        token = self._token(vote.mean, aggregate, pick.position)
        return None if token == pick.token else token
