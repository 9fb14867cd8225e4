"""A pick from some entries of the rows is the pick from all of them, or is not made."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gac.config import (
    CoreConfig,
    EntropyConfig,
    EveryStepConfig,
    GeometricConfig,
    MinConfig,
    ReplaceConfig,
    ThresholdConfig,
    UniteConfig,
)
from gac.config.catalogue import AGGREGATIONS
from gac.core import Entries, Row, Sampling, dense_entries
from gac.decoding.combine import combine, owners
from gac.decoding.decide import Decider
from gac.decoding.flow import Commit
from gac.decoding.greedy import clear_winner
from gac.decoding.sampling import pick_token
from gac.decoding.strategies import StrategyMaker
from gac.decoding.support import TokenOrder
from gac.engine.completion import complete
from tests.support.examples import examples

SIZE = 40
SETTINGS = examples(500)
LEVELS = st.sampled_from([0.0, 0.5, 1.0, 1.0, 2.0, 5.0, 40.0])


def order_of(seed: int) -> TokenOrder:
    draw = np.random.default_rng(seed)
    rank = np.concatenate([[0], 1 + draw.permutation(SIZE - 1)]).astype(np.int32)
    return TokenOrder(rank, draw.integers(0, 2**64, SIZE, dtype=np.uint64))


def cut(row: Row, size: int, extra: tuple[int, ...] = ()) -> Row:
    """The `size` largest entries of a dense row, and some more."""
    probs = row.entries.probs
    largest = np.argsort(-probs, kind="stable")[:size]
    bound = 0.0 if size >= SIZE else float(probs[largest[-1]])
    ids = np.concatenate([largest, np.setdiff1d(extra, largest)]).astype(np.int32)
    ids = np.random.default_rng(0).permutation(ids)
    return Row(row.member, row.position, Entries(ids, probs[ids], bound))


@st.composite
def dense_rows(draw: st.DrawFn) -> list[Row]:
    rows = []
    for member in ("b", "a", "c")[: draw(st.integers(1, 3))]:
        probs = np.array(draw(st.lists(LEVELS, min_size=SIZE, max_size=SIZE)), dtype=np.float32)
        assume(probs.sum() > 0)
        rows.append(Row(member, 7, dense_entries(probs / probs.sum())))
    return rows


SAMPLINGS = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 0.0, 0.3, 0.7, 1.0, 1.5]),
    top_k=st.sampled_from([0, 0, 1, 3, 10]),
    top_p=st.sampled_from([0.1, 0.5, 0.9, 1.0]),
    min_p=st.sampled_from([0.0, 0.0, 0.05, 0.5, 1.0]),
    seed=st.integers(0, 50),
)


WEIGHTS = st.sampled_from(
    [{"a": 0.5, "b": 0.3, "c": 0.2}, dict.fromkeys("abc", 1 / 3), {"a": 0.6, "b": 0.0, "c": 0.4}]
)
TOKENS = [b"", *(b"ab"[: 1 + n % 2] * (1 + n // 4) + b"c" * (n % 3 == 0) for n in range(1, SIZE))]
METHODS = {
    "arithmetic": EveryStepConfig(),
    "geometric": EveryStepConfig(aggregation=GeometricConfig()),
    "min": EveryStepConfig(aggregation=MinConfig()),
    "unite": EveryStepConfig(aggregation=UniteConfig(top_k=3)),
    "unite, one": EveryStepConfig(aggregation=UniteConfig(top_k=1)),
    "core": EveryStepConfig(aggregation=CoreConfig()),
    "core, gate": ThresholdConfig(gate="b", threshold=1.0, aggregation=CoreConfig()),
    "entropy": EveryStepConfig(aggregation=EntropyConfig()),
    "replace": EveryStepConfig(aggregation=ReplaceConfig(by="c")),
}


def test_every_aggregation_is_drawn() -> None:
    assert {config.aggregation.name for config in METHODS.values()} == set(AGGREGATIONS)


@SETTINGS
@given(
    st.sampled_from(list(METHODS)),
    dense_rows(),
    WEIGHTS,
    SAMPLINGS,
    st.integers(1, SIZE),
    st.integers(0, 5),
    st.sampled_from([False, False, True, "c"]),
)
def test_sparse_pick_is_the_dense_pick_or_none(
    method, rows, weights, sampling, size, seed, guard
) -> None:
    guard = guard if sampling.temperature == 0.0 else False
    config = METHODS[method].model_copy(update={"conflict_guard": guard})
    members = tuple(row.member for row in rows)
    make = StrategyMaker(config)
    decide = make.decider(members, weights, sampling, order_of(seed), TOKENS)
    expected = decide(rows)
    assert expected is not None, "all entries decide"
    sparse = [cut(row, size) for row in rows]
    picked = decide(sparse)
    assert picked is None or picked == expected

    wanted = complete(Commit(sparse, decide))
    again = [
        row if wanted.dense else cut(row, size, wanted.entries) if wanted.lacks(short) else short
        for row, short in zip(rows, sparse, strict=True)
    ]
    assert not any(wanted.lacks(row) for row in again)
    picked = decide(again)
    assert picked is None or picked == expected
    if wanted.dense:
        assert picked == expected


@SETTINGS
@given(dense_rows(), st.integers(1, SIZE), st.integers(0, 5))
def test_short_way_to_the_winner_ends_where_the_long_one_does(rows, size, seed) -> None:
    weights = {"a": 0.5, "b": 0.3, "c": 0.2}
    for some in (rows, [cut(row, size) for row in rows]):
        short = clear_winner(some, weights)
        token = pick_token(combine(some, weights), Sampling(), 7, order_of(seed))
        if short is not None:
            assert token is not None
            assert short == (token, owners(some, weights, token))


def test_short_way_is_taken_where_rows_are_as_models_give_them() -> None:
    rows = [cut(peaked("a", 3), 8), cut(peaked("b", 4), 8)]
    assert clear_winner(rows, {"a": 0.6, "b": 0.4}) == (3, ("a",))
    ids = np.array([5, 6], dtype=np.int32)
    tie = Row("a", 0, Entries(ids, np.array([0.4, 0.4], dtype=np.float32), 0.1))
    assert clear_winner([tie], {"a": 1.0}) is None


def peaked(member: str, top: int, rest: float = 0.1) -> Row:
    """Most of the mass on one id, the rest falling off with distance from it."""
    distance = np.abs(np.arange(SIZE) - top).astype(np.float32)
    probs = rest * np.exp(-distance) / np.exp(-distance).sum()
    probs[top] += 1.0 - rest
    return Row(member, 0, dense_entries((probs / probs.sum()).astype(np.float32)))


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(temperature=0.7, top_k=1),
        Sampling(temperature=1.0, top_p=0.3),
        Sampling(temperature=1.0, min_p=0.5),
    ],
)
def test_peaked_rows_need_few_entries(sampling: Sampling) -> None:
    """The proof is no formality: it goes through where it should."""
    rows = [peaked("a", 20), peaked("b", 20)]
    decide = Decider({"a": 0.5, "b": 0.5}, sampling, order_of(0))
    picked = decide([cut(row, 8) for row in rows])
    assert picked is not None and picked.token == 20


@pytest.mark.parametrize("method", METHODS)
def test_few_entries_suffice_but_where_an_aggregation_needs_all(method: str) -> None:
    rows = [peaked("b", 20), peaked("a", 20), peaked("c", 21)]
    weights = {"a": 0.5, "b": 0.3, "c": 0.2}
    make = StrategyMaker(METHODS[method])
    decide = make.decider(("b", "a", "c"), weights, Sampling(), order_of(0), TOKENS)
    picked = decide([cut(row, 8) for row in rows])
    assert (picked is None) == METHODS[method].aggregation.is_dense


def test_top_k_and_top_p_are_proved_once_entries_are_complete() -> None:
    rows = [peaked("a", 20, 0.9), peaked("b", 23, 0.9)]
    sparse = [cut(row, 12) for row in rows]
    for sampling in (
        Sampling(temperature=0.8, top_k=4, seed=3),
        Sampling(temperature=1.0, top_p=0.6, seed=3),
    ):
        decide = Decider({"a": 0.5, "b": 0.5}, sampling, order_of(0))
        wanted = complete(Commit(sparse, decide))
        assert not wanted.dense
        completed = [cut(row, 12, wanted.entries) for row in rows]
        assert decide(completed) == decide(rows) is not None


def test_flat_rows_are_not_decided_by_some_entries() -> None:
    flat = np.full(SIZE, 1 / SIZE, dtype=np.float32)
    rows = [Row("a", 0, dense_entries(flat))]
    decide = Decider({"a": 1.0}, Sampling(), order_of(1))
    assert decide([cut(rows[0], 10)]) is None
    picked = decide(rows)
    assert picked is not None and picked.token == 0, "END comes first among equals"
