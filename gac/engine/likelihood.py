"""How probable a token was in the distribution it was picked from, and which were the best."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gac.core import Ids, Likelihood, Pick
from gac.decoding.combine import Mean
from gac.decoding.decide import Decider
from gac.decoding.flow import Commit
from gac.engine.tracing import best_places
from gac.trace import Candidate


@dataclass(frozen=True, slots=True)
class Likelihoods:
    """Of one sequence's tokens, each with the `count` best; `tokens` are the union's, by id."""

    count: int
    decide: Decider
    tokens: Sequence[bytes]

    @property
    def needs_all_entries(self) -> bool:
        """Whether rows have to be dense: what values sum to is then known from all entries only."""
        return not self.decide.is_normalised

    def of(self, commit: Commit, pick: Pick) -> Likelihood | None:
        """The likelihood of the token that was picked; None where more entries are needed.

        What some entries give is what all would give.
        """
        mean = self.decide.distribution(commit.explain(commit.rows, pick).rows)
        if mean is None:
            return None
        own, best = _value(mean, pick.token), self._best(mean)
        if own is None or best is None:
            return None
        top = (
            Candidate(self.tokens[token], _at_most_1(value))
            for token, value in zip(mean.ids[best].tolist(), mean.low[best].tolist(), strict=True)
        )
        return Likelihood(_at_most_1(own), tuple(top))

    def _best(self, mean: Mean) -> Ids | None:
        """The places of the most probable tokens; None if they are not known for sure."""
        if not self.count:
            return np.zeros(0, dtype=np.int32)
        if mean.is_complete:
            return best_places(mean.ids, mean.low, self.count, self.decide.order).astype(np.int32)
        exact = mean.low == mean.high
        limit = max(mean.bound, float(mean.high[~exact].max(initial=0.0)))
        sure = np.flatnonzero(exact & (mean.low > limit))
        if sure.size < self.count:
            return None
        best = best_places(mean.ids[sure], mean.low[sure], self.count, self.decide.order)
        return sure[best].astype(np.int32)


def _value(mean: Mean, token: int) -> float | None:
    """A token's value in a distribution, where it is known."""
    at = np.flatnonzero(mean.ids == token)
    if not at.size:
        return 0.0 if mean.bound == 0.0 else None
    low, high = float(mean.low[at[0]]), float(mean.high[at[0]])
    return low if low == high else None


def _at_most_1(value: float) -> float:
    """A probability: sums of float32 may lie a little above 1."""
    return min(1.0, value)
