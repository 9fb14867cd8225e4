"""A penalised distribution has true bounds, and what is picked of it holds for all entries."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gac.config import EveryStepConfig, GeometricConfig, MinConfig
from gac.core import END, Penalties, Row, Sampling, dense_entries
from gac.decoding.combine import combine
from gac.decoding.decide import Decider
from gac.decoding.penalties import History, Penalise, tokens_read
from gac.decoding.strategies import StrategyMaker
from tests.decoding.test_sparse_rows import (
    METHODS,
    SAMPLINGS,
    SETTINGS,
    SIZE,
    TOKENS,
    WEIGHTS,
    cut,
    dense_rows,
    order_of,
)

IDS = st.integers(1, SIZE - 1)
PENALTIES = st.builds(
    Penalties,
    presence=st.sampled_from([0.0, 0.0, 2.0, -1.5]),
    frequency=st.sampled_from([0.0, 0.0, 0.4, -0.6]),
    repetition=st.sampled_from([1.0, 1.0, 2.5, 0.6]),
    bias=st.dictionaries(
        st.integers(0, SIZE - 1), st.sampled_from([-100.0, -3.0, 2.5, 100.0]), max_size=4
    ),
)
WRITTEN = st.lists(IDS, min_size=7, max_size=7)  # rows are of position 7
READ = st.lists(IDS, max_size=6)


def penalise(values: Penalties, written: list[int], read: list[int]) -> Penalise:
    history = History()
    for position, token in enumerate(written):
        history.put(position, token)
    return Penalise(values, tokens_read([np.array(read, dtype=np.int32)]), history)


def decider(config, rows: list[Row], weights, sampling: Sampling, change: Penalise) -> Decider:
    members = tuple(row.member for row in rows)
    decide = StrategyMaker(config).decider(members, weights, sampling, order_of(0), TOKENS)
    return replace(decide, penalise=change)


@SETTINGS
@given(
    st.sampled_from(list(METHODS)),
    dense_rows(),
    WEIGHTS,
    SAMPLINGS,
    st.integers(1, SIZE),
    st.sampled_from([False, False, True, "c"]),
    PENALTIES,
    WRITTEN,
    READ,
)
def test_sparse_pick_is_the_dense_pick_or_none(
    method, rows, weights, sampling, size, guard, penalties, written, read
) -> None:
    guard = guard if sampling.temperature == 0.0 else False
    config = METHODS[method].model_copy(update={"conflict_guard": guard})
    decide = decider(config, rows, weights, sampling, penalise(penalties, written, read))
    expected = decide(rows)
    assert expected is not None
    assert decide([cut(row, size) for row in rows]) in (None, expected)


@SETTINGS
@given(dense_rows(), WEIGHTS, st.integers(1, SIZE), PENALTIES, WRITTEN, READ)
def test_bounds_hold(rows, weights, size, penalties, written, read) -> None:
    change = penalise(penalties, written, read)
    whole = change(combine(rows, weights), 7)
    values = dict(zip(whole.ids.tolist(), whole.low.tolist(), strict=True))
    short = change(combine([cut(row, size) for row in rows], weights), 7)
    assert len(set(short.ids.tolist())) == short.ids.size
    for token, low, high in zip(short.ids.tolist(), short.low, short.high, strict=True):
        assert low <= values.pop(token) <= high
    assert max(values.values(), default=0.0) <= short.bound
    assert sum(values.values()) <= short.rest + 1e-6
    assert short.is_complete is combine([cut(row, size) for row in rows], weights).is_complete


@SETTINGS
@given(dense_rows(), WEIGHTS, PENALTIES, WRITTEN, READ)
def test_logits_change_by_the_formula(rows, weights, penalties, written, read) -> None:
    before = combine(rows, weights)
    after = penalise(penalties, written, read)(before, 7)
    assert (after.ids == before.ids).all()
    for token, old, new in zip(before.ids.tolist(), before.low, after.low, strict=True):
        if old == 0.0:
            assert new == 0.0
            continue
        logit = math.log(old)
        if token in written or token in read:
            logit *= penalties.repetition
        logit -= penalties.presence * (token in written)
        logit -= penalties.frequency * written.count(token)
        logit += penalties.bias.get(token, 0.0)
        assert new == pytest.approx(math.exp(logit), rel=1e-9)


def row(member: str, **probs: float) -> Row:
    """A row over the tokens END, a, ab and b."""
    values = np.array([probs.get(name, 0.0) for name in ("end", "a", "ab", "b")], dtype=np.float32)
    return Row(member, 1, dense_entries(values))


def picked(config, rows: list[Row], change: Penalise) -> int:
    decide = decider(config, rows, {"x": 0.5, "y": 0.5}, Sampling(), change)
    pick = decide(rows)
    assert pick is not None
    return pick.token


def test_banned_token_does_not_come_back_through_a_guard() -> None:
    """The anchor x likes `a` best, which `ab` begins with; when `a` is banned, `ab` stands."""
    rows = [row("x", a=0.6, ab=0.35, b=0.05), row("y", a=0.05, ab=0.9, b=0.05)]
    guarded = EveryStepConfig(conflict_guard="x")
    assert picked(guarded, rows, penalise(Penalties(), [3], [])) == 1
    assert picked(guarded, rows, penalise(Penalties(bias={1: -100.0}), [3], [])) == 2


def test_repetition_goes_by_probabilities_that_sum_to_1() -> None:
    """Of min, a has 0.2 and b 0.18: as probabilities 0.526 and 0.474, where a power counts less.

    0.526 ** 1.12 = 0.487 is above 0.474, while 0.2 ** 1.12 = 0.165 would be below 0.18.
    """
    rows = [row("x", a=0.2, b=0.8), row("y", a=0.82, b=0.18)]
    config = EveryStepConfig(aggregation=MinConfig())
    for power, winner in ((1.12, 1), (1.2, 3)):
        assert picked(config, rows, penalise(Penalties(repetition=power), [1], [])) == winner
    geometric = EveryStepConfig(aggregation=GeometricConfig())
    decide = decider(
        geometric,
        rows,
        {"x": 0.5, "y": 0.5},
        Sampling(),
        penalise(Penalties(repetition=1.2), [1], []),
    )
    assert decide.needs_all_entries
    assert not replace(
        decide, penalise=penalise(Penalties(presence=1.0), [1], [])
    ).needs_all_entries


def test_stop_tokens_of_a_prompt_are_not_penalised() -> None:
    rows = [row("x", end=0.6, a=0.4)]
    read = penalise(Penalties(repetition=5.0), [3], [END, 1])
    assert picked(EveryStepConfig(), rows, read) == END


def test_forced_tokens_are_read_but_not_of_the_answer() -> None:
    mean = combine([row("x", a=0.5, ab=0.3, b=0.2)], {"x": 1.0})
    history = History()
    history.put(0, 1)
    penalties = Penalties(presence=1.0, repetition=2.0)
    forced = Penalise(penalties, np.array([1], dtype=np.int32), history, num_forced=1)
    assert forced(mean, 1).low == pytest.approx([0.0, 0.25, 0.3, 0.2])
    answer = replace(forced, num_forced=0)
    assert answer(mean, 1).low == pytest.approx([0.0, 0.25 / math.e, 0.3, 0.2])


def test_history_forgets_what_was_drafted_after_another_token() -> None:
    history = History()
    assert not any(history.put(position, token) for position, token in enumerate([5, 6, 7]))
    assert not history.put(1, 6)
    assert history.before(3).tolist() == [5, 6, 7]
    assert history.put(1, 8)
    assert history.before(2).tolist() == [5, 8]
    with pytest.raises(AssertionError):
        history.before(3)
    with pytest.raises(AssertionError):
        history.put(3, 9)
