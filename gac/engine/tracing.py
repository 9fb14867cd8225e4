"""The trace of a token, from the rows it was picked from and its strategy's note."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gac.core import Ids, Pick, Row
from gac.decoding.combine import Mean, Vote, share_out
from gac.decoding.decide import Decider
from gac.decoding.flow import Commit, Note, Verdict
from gac.decoding.support import TokenOrder
from gac.errors import GacError
from gac.trace import (
    Candidate,
    CombinedCandidate,
    MemberTrace,
    Outcome,
    TokenTrace,
    VerdictTrace,
    Why,
)


@dataclass(frozen=True, slots=True)
class Tracer:
    """Traces one sequence: `count` candidates each, spelled by the union's `tokens`."""

    count: int
    decide: Decider
    tokens: Sequence[bytes]

    def trace(self, commit: Commit, pick: Pick) -> TokenTrace:
        """How the token that was picked came about."""
        note = self._after_guard(commit.explain(commit.rows, pick), pick)
        vote = self.decide.vote(note.rows)
        if vote is None:
            raise GacError("the rows that decided a token cannot be combined again")
        say = share_out(vote.rows, vote.weights)
        rows = sorted(commit.rows, key=lambda row: row.member)
        return TokenTrace(
            note.outcome,
            note.why,
            self._agreement(rows, pick, note),
            tuple(self._member(row, say.get(row.member, 0.0)) for row in rows),
            self._combined(vote),
            tuple(_verdict(name, note.verdicts[name]) for name in sorted(note.verdicts)),
            None if note.rejected is None else self.tokens[note.rejected],
        )

    def _after_guard(self, note: Note, pick: Pick) -> Note:
        """The note; where the conflict guard replaced the token, it says so."""
        rejected = self.decide.overruled(note.rows, pick)
        if rejected is None:
            return note
        return replace(note, outcome=Outcome.REPLACED, why=Why.CONFLICT_GUARD, rejected=rejected)

    def _member(self, row: Row, weight: float) -> MemberTrace:
        entries = row.entries
        best = best_places(entries.ids, entries.probs, self.count, self.decide.order)
        top = (
            Candidate(self.tokens[entries.ids[at]], float(entries.probs[at]))
            for at in best.tolist()
        )
        return MemberTrace(row.member, weight, row.confidence, tuple(top))

    def _combined(self, vote: Vote) -> tuple[CombinedCandidate, ...]:
        mean: Mean = vote.mean
        best = best_places(mean.ids, mean.low, self.count, self.decide.order)
        return tuple(
            CombinedCandidate(self.tokens[mean.ids[at]], float(mean.low[at]), float(mean.high[at]))
            for at in best.tolist()
        )

    def _agreement(self, rows: Sequence[Row], pick: Pick, note: Note) -> float:
        """The share of members that gave a row or a verdict whose favourite is the pick.

        Where a member gave both, its row counts; a verdict is about the drafted token.
        """
        order = self.decide.order
        favours = [_favourite(row, order) == pick.token for row in rows]
        if note.outcome is Outcome.DRAFTED:
            heard = {row.member for row in rows}
            verdicts = (v for name, v in note.verdicts.items() if v and name not in heard)
            favours += [verdict.agrees for verdict in verdicts]
        return sum(favours) / len(favours)


def _verdict(member: str, verdict: Verdict | None) -> VerdictTrace:
    if verdict is None:
        return VerdictTrace(member, None, None)
    return VerdictTrace(member, verdict.agrees, verdict.probability)


def _favourite(row: Row, order: TokenOrder) -> int:
    return int(row.entries.ids[best_places(row.entries.ids, row.entries.probs, 1, order)[0]])


def best_places(
    ids: Ids, values: NDArray[np.floating], count: int, order: TokenOrder
) -> NDArray[np.intp]:
    """The places of the `count` (> 0) largest values above 0, largest first, ties by bytes."""
    size = min(count, values.size)
    smallest = np.partition(values, values.size - size)[values.size - size]
    places = np.flatnonzero((values >= smallest) & (values > 0.0))
    return places[np.lexsort((order.rank[ids[places]], -values[places]))][:size]
