"""SAFE by hand: whom it asks, what it lets through, what it holds back, and how it sharpens."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from gac.core import END, Entries, Pick, Row, Sampling, dense_entries
from gac.decoding.combine import Aggregate, arithmetic
from gac.decoding.consensus import geometric
from gac.decoding.decide import Decider
from gac.decoding.flow import Commit, Draft, Drafted, Query, Rows, Score, Scored, Strategy, Verdict
from gac.decoding.replacement import replace as replace_by
from gac.decoding.safe import Doubt, DraftLength, safe
from gac.decoding.sharpen import Sharpened, prefix_merge
from gac.decoding.support import TokenOrder
from gac.decoding.unite import unite
from gac.trace import Why

TOKENS = (b"", b"Inc", b"orr", b"ect", b"Incorrect", b" x")
INC, ORR, ECT, INCORRECT, X = range(1, 6)
RANK = np.argsort(np.argsort(np.array(TOKENS, dtype=object))).astype(np.int32)
ENDS = np.array([6, 4, 5 + 1, 5, 4, 2], dtype=np.int32)
ORDER = TokenOrder(RANK, np.arange(6, dtype=np.uint64), ENDS)
THIRDS = dict.fromkeys("dvw", 1 / 3)


def row(member: str, position: int = 0, **probs: float) -> Row:
    """A complete row of named tokens; what is left goes to " x"."""
    values = np.zeros(len(TOKENS), dtype=np.float32)
    for name, prob in probs.items():
        values[TOKENS.index(b"" if name == "END" else name.encode())] = prob
    values[X] += 1.0 - values.sum()
    return Row(member, position, dense_entries(values))


def doubt_of(**changes: object) -> Doubt:
    plain = {"weights": THIRDS, "consensus": 0.5, "extra_gate": 1.0, "greedy": True}
    return Doubt(drafter="d", order=ORDER, **{**plain, **changes})


def decide(rows: Rows) -> Pick:
    """A row's favourite; of several, the token that nobody writes alone."""
    at = int(rows[0].entries.probs.argmax()) if len(rows) == 1 else X
    return Pick(rows[0].position, at, tuple(row.member for row in rows))


def drafted(*rows: Row) -> Drafted:
    return Drafted(tuple(decide([row]) for row in rows), rows)


def begin(verifiers: tuple[str, ...] = ("v",), **changes: object) -> Strategy:
    """A strategy whose first token is committed; its next step is a draft."""
    strategy = safe("d", verifiers, 5, doubt_of(**changes), decide)
    assert next(strategy) == Query(("d", *verifiers))
    sure = [row(name, ect=0.9) for name in ("d", *verifiers)]
    first = strategy.send(sure)
    assert isinstance(first, Commit) and first.decide(first.rows).token == ECT
    return strategy


WORD = drafted(
    row("d", 1, Inc=0.4, orr=0.3),
    row("d", 2, orr=0.4, ect=0.3),
    row("d", 3, ect=0.4, orr=0.3),
    row("d", 4, END=0.4, Inc=0.3),
)
NO = Verdict(agrees=False, probability=0.1)


def test_nothing_is_ensembled_inside_a_word_that_verifiers_write_as_one() -> None:
    """Inc|orr|ect against Incorrect: nobody is asked before `orr` and `ect`, but behind them."""
    strategy = begin()
    assert strategy.send(()) == Draft("d", 4, decide)
    step = strategy.send(WORD)
    assert isinstance(step, Score) and step.tokens == (INC, ORR, ECT, END)
    verdicts = {"v": (Verdict(True, 0.2), None, None, NO)}
    steps = [strategy.send(Scored(4, 0, verdicts))]
    while isinstance(steps[-1], Commit):
        steps.append(strategy.send(()))
    taken = [step.decide(step.rows).token for step in steps[:-1]]
    assert taken == [INC, ORR, ECT], "inside the word nobody disagrees, as nobody is asked"
    assert steps[-1] == Query(("d", "v")), "behind it all tokenisations meet"
    commit = strategy.send([row("d", 4), row("v", 4)])
    assert isinstance(commit, Commit) and commit.decide is decide


def test_ensemble_where_the_word_begins_if_nobody_is_sure_of_it() -> None:
    strategy = begin()
    strategy.send(())
    strategy.send(WORD)
    step = strategy.send(Scored(4, 0, {"v": (Verdict(False, 0.2), None, None, NO)}))
    assert step == Query(("d", "v"))
    strategy.send([row("d", 1), row("v", 1)])
    assert isinstance(strategy.send(()), Draft), "the drafter's later tokens are dropped"


@pytest.mark.parametrize(
    ("verdicts", "changes", "asked"),
    [
        ([NO], {}, True),
        ([NO, Verdict(True, 0.4)], {}, True),
        ([Verdict(True, 0.1), Verdict(True, 0.1)], {}, False),
        ([Verdict(True, 0.1), Verdict(True, 0.1)], {"greedy": False}, True),
        ([Verdict(False, 0.1), Verdict(False, 0.9)], {}, True),
        ([Verdict(False, 0.2), Verdict(False, 0.95)], {}, False),
        ([NO, None], {}, False),
        ([], {}, False),
        ([NO], {"extra_gate": 0.5}, True),
        ([NO], {"extra_gate": 0.375}, False),
        ([NO], {"consensus": 0.2}, False),
        ([NO], {"weights": {"d": 0.9, "v": 0.1, "w": 0.0}, "consensus": 0.36}, False),
        ([NO], {"weights": {"d": 0.5, "v": 0.5, "w": 0.0}, "consensus": 0.36}, True),
    ],
)
def test_tests_that_ask_for_the_ensemble(verdicts, changes, asked) -> None:
    """The drafter gives its token 0.4; figure 3 has (0.7 + 0.3 + 0.2) / 3 = 0.4, too."""
    known = dict(zip("vw", verdicts, strict=False))
    own = row("d", Inc=0.4, orr=0.2, ect=0.2)
    assert doubt_of(**changes).asks(own, decide([own]), known) is asked


LONE = {"d": 0.0, "v": 0.0, "w": 1.0}


@pytest.mark.parametrize(
    ("weights", "verdicts", "why"),
    [
        ({"d": 0.5, "v": 0.5, "w": 0.0}, {"v": Verdict(True, 0.1), "w": None}, Why.UNANIMOUS),
        ({"d": 0.5, "v": 0.5, "w": 0.0}, {"v": Verdict(True, 0.1), "w": NO}, Why.UNANIMOUS),
        ({"d": 0.5, "v": 0.5, "w": 0.0}, {"v": NO, "w": Verdict(True, 0.9)}, Why.NO_CONSENSUS),
        ({"d": 1.0, "v": 0.0, "w": 0.0}, {"v": NO, "w": None}, Why.UNVERIFIED),
        (LONE, {"v": None, "w": Verdict(False, 0.6)}, Why.CONSENSUS),
        (LONE, {"v": None}, Why.NOT_ALIGNED),  # w abstains: those left decide in equal parts
        (LONE, {"v": NO}, Why.NO_CONSENSUS),
    ],
)
def test_verifiers_without_weight_have_no_say(weights, verdicts, why) -> None:
    own = row("d", Inc=0.4, orr=0.3, ect=0.3)
    assert doubt_of(weights=weights).why(own, decide([own]), verdicts) is why


@pytest.mark.parametrize(
    ("weights", "panels"),
    [
        ({"d": 0.5, "v": 0.5, "w": 0.0}, [("v",)]),
        ({"d": 1.0, "v": 0.0, "w": 0.0}, [()]),
        (LONE, [("w",), ("v", "w")]),
    ],
)
def test_verifiers_without_weight_are_not_asked(weights, panels) -> None:
    """Unless those with a weight abstain within the draft, as `w` does here from its second place.

    The first token is tested by all rows, and those without weight are not heard.
    """
    strategy = safe("d", ("v", "w"), 5, doubt_of(weights=weights), decide)
    next(strategy)
    first = strategy.send([row("d", ect=0.9), row("v", orr=0.9), row("w", ect=0.9)])
    assert first.decide(first.rows).token == (X if weights["v"] else ECT)
    strategy.send(())
    step, seen = strategy.send(WORD), []
    while isinstance(step, Score):
        seen.append(step.members)
        verdicts = {name: (NO, NO, NO, NO)[: 1 if name == "w" else 4] for name in step.members}
        step = strategy.send(Scored(4, 4, verdicts))
    assert seen == panels


def test_figure_3_of_the_paper() -> None:
    own = row("d", Inc=0.7)
    known = {"v": Verdict(True, 0.3), "w": Verdict(False, 0.2)}
    assert doubt_of().asks(own, decide([own]), known)
    assert not doubt_of(consensus=0.39).asks(own, decide([own]), known)


@pytest.mark.parametrize(
    ("own", "verdict"),
    [
        (INC, Verdict(False, 0.25)),
        (ORR, Verdict(True, 0.375)),
        (ECT, Verdict(False, 0.375)),
        (END, Verdict(False, 0.0)),
    ],
)
def test_verdicts_ties_go_by_bytes(own, verdict) -> None:
    """`ect` comes before `orr`: it is the favourite of both."""
    tied = row("v", Inc=0.25, orr=0.375, ect=0.375)
    expected = {ORR: Verdict(False, 0.375), ECT: Verdict(True, 0.375)}.get(own, verdict)
    assert doubt_of().judge(tied, own) == expected


def test_short_rows_give_no_verdict_that_they_do_not_prove() -> None:
    whole = row("v", Inc=0.25, orr=0.5, ect=0.25)
    short = type(whole.entries)(
        np.array([ORR], dtype=np.int32), np.array([0.5], dtype=np.float32), 0.25
    )
    tied = type(short)(short.ids, short.probs, 0.5)
    assert doubt_of().judge(Row("v", 0, short), ORR) == Verdict(True, 0.5)
    assert doubt_of().judge(Row("v", 0, short), INC) is None
    assert doubt_of().judge(Row("v", 0, tied), ORR) is None
    assert doubt_of(greedy=False).judge(Row("v", 0, tied), ORR) == Verdict(True, 0.5)


def test_last_word_is_held_back_until_it_has_ended() -> None:
    strategy = begin(extra_gate=0.0)
    step = strategy.send(())
    for size, final, committed in [
        (4, 0, 0),  # no word has ended, and no token has four behind it
        (4 + 4, 0, 4),  # four have
        (4 + 5, 8, 8),  # a word has ended behind the eighth
        (1 + 5, 0, 2),
    ]:
        assert isinstance(step, Draft) and step.max_tokens == size
        strategy.send(drafted(*(row("d", n, Inc=0.5) for n in range(size))))
        step = strategy.send(Scored(size, final, {"v": (NO,) * size}))
        count = 0
        while isinstance(step, Commit):
            step, count = strategy.send(()), count + 1
        assert count == committed


def test_drafts_get_shorter_where_they_are_rejected_and_longer_again() -> None:
    length = DraftLength(8)
    sizes = [length.now]
    for _ in range(30):
        length.note(rejected=True)
        sizes.append(length.now)
    assert sizes[-1] == 3 and sizes == sorted(sizes, reverse=True) and 3 < sizes[0] < 8
    for _ in range(60):
        length.note(rejected=False)
    assert length.now == 8
    assert {DraftLength(most).now for most in (1, 2)} == {1, 2}


HALVES = {"d": 0.5, "v": 0.5}
DECIDER = Decider(HALVES, Sampling(), ORDER)


def merging(above: float) -> Aggregate:
    return partial(prefix_merge, aggregate=arithmetic, drafter="d", above=above, order=ORDER)


def sharpened(sharper: Aggregate) -> Decider:
    return replace(DECIDER, aggregate=Sharpened(arithmetic, sharper))


def test_prefix_merge_gathers_a_word_on_its_first_part() -> None:
    rows = [row("d", Inc=0.3, orr=0.4, ect=0.3), row("v", Inc=0.1, Incorrect=0.5, orr=0.4)]
    assert DECIDER(rows).token == ORR
    vote = merging(0.1)(rows, HALVES)
    assert vote is not None
    sharp = vote.mean
    assert sharp.low[INC] == pytest.approx(0.2 + 0.25) and sharp.low[ORR] == pytest.approx(0.4)
    assert sharp.low[INCORRECT] == pytest.approx(0.25), "not a token of the drafter"
    assert sharpened(merging(0.1))(rows) == Pick(0, INC, ("d",))
    assert sharpened(merging(0.25))(rows).token == ORR


@pytest.mark.parametrize(
    "aggregate", [partial(unite, order=ORDER, top_k=1), partial(replace_by, by="v")]
)
def test_prefix_merge_of_aggregations_that_leave_tokens_out(aggregate: Aggregate) -> None:
    """The drafter's row lists tokens that the combined distribution does not."""
    drafted = row("d", Inc=0.4, orr=0.3, ect=0.3)
    narrow = Entries(np.array([INC, ORR], np.int32), np.array([0.45, 0.55], np.float32))
    sharp = partial(prefix_merge, aggregate=aggregate, drafter="d", above=0.1, order=ORDER)
    vote = sharp([drafted, Row("v", 0, narrow)], HALVES)
    assert vote is not None and set(vote.mean.ids) == {INC, ORR}
    short = Entries(drafted.entries.ids[INC:ORR], drafted.entries.probs[INC:ORR], 0.3)
    assert sharp([Row("d", 0, short), Row("v", 0, narrow)], HALVES) is None, "it may write ORR"


def test_geometric_mean_punishes_what_one_member_rules_out() -> None:
    rows = [row("d", Inc=0.7, orr=0.2, ect=0.1), row("v", orr=0.25, ect=0.3, Incorrect=0.45)]
    assert DECIDER(rows).token == INC
    assert sharpened(geometric)(rows) == Pick(0, ORR, ("v",))


def test_sharp_means_stay_as_they_are() -> None:
    rows = [row("d", Inc=0.75, orr=0.25), row("v", orr=0.375, ect=0.375, Inc=0.25)]
    assert sharpened(geometric)(rows) == DECIDER(rows)
    assert DECIDER(rows).token == INC
    disjoint = [row("d", Inc=0.4, orr=0.6), row("v", ect=0.4, Incorrect=0.6)]
    assert sharpened(geometric)(disjoint) == DECIDER(disjoint)
