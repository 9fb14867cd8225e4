"""One member drafts, the others verify; all decide only where it is safe and they disagree.

With identical tokenizers, greedy decoding and no sharpening, the text is that of every step if the
engine's rule is `append`, or if all members' ids are the canonical ones of the text (in float32).
Source: SAFE (arXiv 2510.15346).  Differences from the paper and from its authors' code:

- The last tokens of a draft are held back and tested together with the tokens that follow them.
  The paper tests them at once; but at the end of an unfinished text a tokenizer may put a boundary
  that disappears later (Inc|orr is split, Incorrect is not), or a token that becomes longer.
  Tokens that are held back are not drafted again, so this costs no forward pass.  Accepting them
  untested would let tokens through that the ensemble would not have chosen.
- The ensemble's distributions are computed from each member's ids of the committed text, not from
  its ids of text and draft.  Nearly always these are the same, and nothing is computed again.
- The length of a draft depends on how many drafts of this text were rejected; the paper drafts 5.
- END is one symbol, and every verifier's own token at the end of the text; the code compares
  strings.
- When sampling, a drafted token and the ensemble's token at the same position are drawn with the
  same noise.  The paper (appendix H) accepts a drafted token with probability
  min(1, P_ens / P_draft) and does not say what replaces a rejected one.  Here any aggregation can
  be used, there is no second draw, and a token that the ensemble decides is sampled from the
  ensemble's distribution.  A drafted token that is accepted is a sample of the drafter's.
- The consensus test is the paper's: the mean over any number of members is compared with a
  threshold.  The code compares the sum of two probabilities with 1.
- A verifier of weight 0 is not asked, unless all members that have a weight abstain.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from gac.core import END, Pick, Row
from gac.decoding.combine import shares_of
from gac.decoding.flow import (
    Commit,
    Decide,
    Draft,
    Drafted,
    Explain,
    Note,
    Query,
    Rows,
    Score,
    Scored,
    Strategy,
    Verdict,
    together,
)
from gac.decoding.forced import is_favourite
from gac.decoding.support import TokenOrder
from gac.trace import Outcome, Why

LOOK_AHEAD = 4
"""Where no word ends, as in Chinese, so many further tokens are taken to settle a tokenisation."""
SHORTEST_DRAFT = 3
SHORTEST_AT = 0.65
"""The share of drafts not fully accepted at which the shortest costs least per token."""


def safe(
    drafter: str,
    verifiers: tuple[str, ...],
    max_tokens: int,
    doubt: "Doubt",
    decide: Decide,
) -> Strategy:
    """Generate, verify, ensemble.  Source: SAFE section 3, algorithm 1.

    `decide` picks the drafter's tokens from its own row, and the ensemble's from all rows.  Drafted
    tokens after one that the ensemble decides are dropped.
    """
    members, panel = (drafter, *verifiers), doubt.with_say(verifiers)
    first = _FirstToken(doubt, decide)
    yield Commit((yield Query(members)), first.decide, first.explain)
    length, num_held = DraftLength(max_tokens), 0
    while True:
        wanted = num_held + length.now  # tokens held back are not drafted again
        drafted = yield Draft(drafter, wanted, decide)
        scored = yield Score(panel, drafted.tokens, doubt.judge)
        if doubt.lacks_weight(scored):
            scored = yield Score(verifiers, drafted.tokens, doubt.judge)
        num_settled = _num_settled(drafted, scored, wanted)
        place = doubt.first(drafted, scored, num_settled)
        for n in range(place):
            yield Commit(
                (drafted.rows[n],), _taken(drafted.picks[n]), doubt.noted(drafted, scored, n)
            )
        is_doubted = place < num_settled
        if is_doubted or not scored.num_tokens:
            explain = doubt.noted(drafted, scored, place) if is_doubted else together
            yield Commit((yield Query(members)), decide, explain)
        num_held = 0 if is_doubted else len(drafted.picks) - num_settled
        length.note(is_doubted)


def _num_settled(drafted: Drafted, scored: Scored, wanted: int) -> int:
    """How many tokens of a draft may be tested and committed; the others are held back."""
    size = len(drafted.picks)
    is_last = size < wanted or scored.num_tokens < size or drafted.tokens[-1] == END
    if is_last:  # nothing can follow
        return scored.num_tokens
    return max(scored.num_final, size - LOOK_AHEAD, 0)


def _taken(pick: Pick) -> Decide:
    """Commits the drafter's own token."""
    return lambda _: pick


@dataclass(frozen=True, slots=True)
class _FirstToken:
    """The tests for the first token, which is not drafted; the drafter's favourite is tested.

    All members prefill the prompt before it, and a dummy space may be mapped there, so that their
    rows are there already.
    """

    doubt: "Doubt"
    decider: Decide

    def decide(self, rows: Rows) -> Pick | None:
        """The drafter's token, or the ensemble's if it is doubted."""
        own = self._own(rows)
        if own is None:
            return self.decider(rows)
        pick = self.decider([own])
        if pick is None:
            return None
        verdicts = self._verdicts(rows, pick)
        if None in verdicts.values():
            return None
        return self.decider(rows) if self.doubt.asks(own, pick, verdicts) else pick

    def explain(self, rows: Rows, pick: Pick) -> Note:
        """Whether the token is the drafter's or the ensemble's, and why."""
        own = self._own(rows)
        would = None if own is None else self.decider([own])
        if own is None or would is None:
            return together(rows, pick)
        verdicts = self._verdicts(rows, would)
        return self.doubt.note(rows, pick, own, would, verdicts)

    def _own(self, rows: Rows) -> Row | None:
        return next((row for row in rows if row.member == self.doubt.drafter), None)

    def _verdicts(self, rows: Rows, pick: Pick) -> dict[str, Verdict | None]:
        asked = self.doubt.with_say([row.member for row in rows])
        return {
            row.member: self.doubt.judge(row, pick.token) for row in rows if row.member in asked
        }


@dataclass(frozen=True, slots=True)
class Doubt:
    """The tests that ask for the ensemble.  Source: SAFE section 3.2; weighted: appendix H.

    A token is let through where the weighted mean probability of the members' own tokens is above
    `consensus`; if `greedy`, also where every verifier's own token is its favourite.  `extra_gate`
    is GaC's threshold on top (`GaC + SAFE`): above it the drafter decides alone.  Of the first
    `num_forced` tokens, which are given, those that it would not have drafted greedily are doubted.
    """

    drafter: str
    weights: Mapping[str, float]
    consensus: float
    extra_gate: float
    greedy: bool
    order: TokenOrder
    num_forced: int = 0

    def with_say(self, members: Iterable[str]) -> tuple[str, ...]:
        """Of these, the verifiers that have a say beside the drafter.

        Weight 0 is no say: neither against a draft, nor by tokens that do not meet the drafter's.
        """
        there = tuple(members)
        shares = shares_of({self.drafter, *there}, self.weights)
        return tuple(name for name in there if name != self.drafter and shares[name] > 0.0)

    def lacks_weight(self, scored: Scored) -> bool:
        """Whether all members with a weight abstain at some place of a draft."""
        return not self.weights[self.drafter] and not all(map(scored.at, range(scored.num_tokens)))

    def first(self, drafted: Drafted, scored: Scored, stop: int) -> int:
        """The first of `stop` drafted tokens for which the ensemble is asked; `stop` if none is."""
        for n in range(stop):
            if self.asks(drafted.rows[n], drafted.picks[n], scored.at(n)):
                return n
        return stop

    def asks(self, row: Row, pick: Pick, verdicts: Mapping[str, Verdict | None]) -> bool:
        """Whether a drafted token, picked from this row, needs the ensemble."""
        return self.why(row, pick, verdicts) is Why.NO_CONSENSUS

    def why(self, row: Row, pick: Pick, verdicts: Mapping[str, Verdict | None]) -> Why:
        """The first test by which a drafted token is accepted; NO_CONSENSUS if there is none.

        NOT_ALIGNED: no token of some verifier starts here, so the text in front is OOV-like to it.
        """
        if self.greedy and row.position < self.num_forced and not is_favourite(row, pick.token):
            return Why.NO_CONSENSUS  # it would have drafted another token
        asked = self.with_say(verdicts)
        known = {name: given for name in asked if (given := verdicts[name]) is not None}
        if not asked:
            return Why.UNVERIFIED
        if len(known) < len(asked):
            return Why.NOT_ALIGNED
        if row.confidence > self.extra_gate:
            return Why.EXTRA_GATE
        if self.greedy and all(verdict.agrees for verdict in known.values()):
            return Why.UNANIMOUS
        own = float(row.entries.probs[row.entries.ids == pick.token][0])
        probabilities = {member: verdict.probability for member, verdict in known.items()}
        probabilities[self.drafter] = own
        shares = shares_of(probabilities, self.weights)
        mean = sum(share * probabilities[member] for member, share in shares.items())
        return Why.CONSENSUS if mean > self.consensus else Why.NO_CONSENSUS

    def noted(self, drafted: Drafted, scored: Scored, place: int) -> Explain:
        """Explains the token committed at one place of a draft."""
        row, would = drafted.rows[place], drafted.picks[place]
        # What is committed may list more entries of the row than what was drafted from.
        return lambda rows, pick: self.note(rows, pick, row, would, scored.at(place))

    def note(
        self,
        rows: Rows,
        pick: Pick,
        row: Row,
        would: Pick,
        verdicts: Mapping[str, Verdict | None],
    ) -> Note:
        """How the pick came about if `would` was the token drafted from `row`."""
        why = self.why(row, would, verdicts)
        if why is not Why.NO_CONSENSUS:
            own = tuple(one for one in rows if one.member == self.drafter)
            return Note(Outcome.DRAFTED, why, own, None, verdicts)
        if pick.token != would.token:
            return Note(Outcome.REPLACED, why, rows, would.token, verdicts)
        return Note(Outcome.ENSEMBLED, why, rows, None, verdicts)

    def judge(self, row: Row, own: int) -> Verdict | None:
        """What a member thinks of its own token: `own` is its union id."""
        entries = row.entries
        at = np.flatnonzero(entries.ids == own)
        if not at.size and not entries.is_complete:
            return None
        probability = float(entries.probs[at[0]]) if at.size else 0.0
        largest = float(entries.probs.max())
        if probability < largest:
            return Verdict(agrees=False, probability=probability)
        if entries.bound >= largest:  # somebody who is not listed may tie
            return Verdict(True, probability) if not self.greedy else None
        tied = entries.ids[entries.probs == entries.probs.max()]
        agrees = bool(self.order.rank[own] == self.order.rank[tied].min())
        return Verdict(agrees, probability)


class DraftLength:
    """How many tokens are drafted at a time: fewer where many drafts were rejected.

    It depends on this text only, as the length decides what verifiers see.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._rejected = 0.2

    @property
    def now(self) -> int:
        """From 3 tokens to the most, which may be less than 3."""
        least = min(SHORTEST_DRAFT, self._most)
        share = min(1.0, self._rejected / SHORTEST_AT)
        return self._most - round((self._most - least) * share)

    def note(self, rejected: bool) -> None:
        """Learn whether a draft was cut short by the ensemble."""
        self._rejected = 0.9 * self._rejected + 0.1 * rejected
