"""Aggregations by hand, their owners, the guard, and where one leaves nothing."""

import numpy as np
import pytest

from gac.config import (
    CoreConfig,
    EntropyConfig,
    EveryStepConfig,
    GeometricConfig,
    MinConfig,
    ReplaceConfig,
    UniteConfig,
)
from gac.core import Pick, Row, Sampling, dense_entries
from gac.decoding.certainty import core, entropy
from gac.decoding.combine import Vote, owners
from gac.decoding.consensus import geometric, minimum
from gac.decoding.decide import Decider
from gac.decoding.strategies import StrategyMaker
from gac.decoding.support import TokenOrder
from gac.decoding.unite import unite

TOKENS = [b"", b"Inc", b"Incorrect", b"no", b"nob"]
HALF = {"a": 0.5, "b": 0.5}
ORDER = TokenOrder(np.arange(5, dtype=np.int32), np.arange(5, dtype=np.uint64))


def row(member: str, *probs: float) -> Row:
    return Row(member, 3, dense_entries(np.array(probs, dtype=np.float32)))


def values(vote: Vote | None) -> list[float]:
    assert vote is not None and vote.mean.is_complete
    listed = dict(zip(vote.mean.ids.tolist(), vote.mean.low.tolist(), strict=True))
    return [listed.get(token, 0.0) for token in range(5)]


def decider(
    weights: dict[str, float] = HALF, sampling: Sampling | None = None, **config
) -> Decider:
    make = StrategyMaker(EveryStepConfig(**config))
    return make.decider(tuple(weights), weights, sampling or Sampling(), ORDER, TOKENS)


NEAR_A = row("a", 0.0, 0.12, 0.18, 0.4, 0.3)
A, B = row("a", 0.0, 0.1, 0.2, 0.4, 0.3), row("b", 0.0, 0.5, 0.4, 0.1, 0.0)


def test_geometric_mean_by_hand() -> None:
    expected = [0.0, 0.05**0.5, 0.08**0.5, 0.04**0.5, 0.0]
    assert values(geometric([A, B], HALF)) == pytest.approx(expected)
    weighted = values(geometric([A, B], {"a": 0.75, "b": 0.25}))
    assert weighted[3] == pytest.approx(0.4**0.75 * 0.1**0.25)


def test_minimum_by_hand_heeds_no_weights() -> None:
    assert values(minimum([A, B], {"a": 0.9, "b": 0.1})) == pytest.approx([0, 0.1, 0.2, 0.1, 0])


@pytest.mark.parametrize("aggregate", [geometric, minimum])
def test_members_without_a_common_token_are_averaged(aggregate) -> None:
    rows = [row("a", 0, 0, 0.7, 0.3, 0), row("b", 0, 0.9, 0, 0, 0.1)]
    assert values(aggregate(rows, HALF)) == pytest.approx([0, 0.45, 0.35, 0.15, 0.05])


def test_unite_weighs_true_probabilities_of_the_best_tokens() -> None:
    vote = unite([A, B], HALF, ORDER, top_k=1)
    assert values(vote) == pytest.approx([0, 0.3, 0, 0.25, 0])
    tied = row("b", 0.0, 0.4, 0.4, 0.1, 0.1)
    assert values(unite([A, tied], HALF, ORDER, top_k=1))[2] == 0.0, "Inc comes before Incorrect"


def test_entropy_weighs_the_surer_member_more() -> None:
    flat, peaked = row("a", 0, 0.25, 0.25, 0.25, 0.25), row("b", 0, 0, 0, 0.1, 0.9)
    entropies = np.log(4), -(0.1 * np.log(0.1) + 0.9 * np.log(0.9))
    share = (1 / entropies[1]) / (1 / entropies[0] + 1 / entropies[1])
    vote = entropy([flat, peaked], HALF)
    assert values(vote)[4] == pytest.approx((1 - share) * 0.25 + share * 0.9, rel=1e-5)


def test_member_without_entropy_decides_alone_and_several_share() -> None:
    sure, sure_of_less = row("a", 0, 1, 0, 0, 0), row("c", 0, 0, 1, 0, 0)
    assert values(entropy([sure, B], HALF))[1] == pytest.approx(1.0, abs=1e-5)
    weights = {"a": 0.6, "b": 0.2, "c": 0.2}
    shared = values(entropy([sure, B, sure_of_less], weights))
    assert shared[1:3] == pytest.approx([0.75, 0.25], abs=1e-5)


def test_core_by_hand() -> None:
    """Two members lie equally far from their mean, so the scores of both are the same."""
    main, other = np.array([0, 0.1, 0.2, 0.4, 0.3]), np.array([0, 0.5, 0.4, 0.1, 0.0])
    distance = np.abs(main - other) / 2
    score = (np.exp(-2 * distance) - np.exp(-2)) / (1 - np.exp(-2))
    score[main + other == 0] = 0
    entropies = [-sum(p * np.log(p) for p in probs if p) for probs in (main, other)]
    says = [score.sum() / h for h in entropies]
    assert says[0] < says[1], "so that half the say is the main member's only as it leads"
    scaled = score * 4 / score.sum()
    expected = 0.5 * main + 0.5 * scaled * other
    assert values(core([A, B], HALF, main="a")) == pytest.approx(expected, rel=1e-5)


def test_core_is_led_by_the_highest_weight_and_then_the_first_name() -> None:
    by_main = {main: values(core([A, B], HALF, main)) for main in ("a", "b", None)}
    assert by_main[None] == by_main["a"] != by_main["b"]
    weights = {"a": 0.4, "b": 0.6}
    assert values(core([A, B], weights)) == values(core([A, B], weights, "b"))


@pytest.mark.parametrize(
    ("aggregation", "token", "standing"),
    [
        (None, 1, ("b",)),
        (GeometricConfig(), 2, ("b",)),
        (MinConfig(), 2, ("b",)),
        (UniteConfig(top_k=1), 1, ("b",)),
        (EntropyConfig(), 1, ("b",)),
        (CoreConfig(), 2, ("b",)),
        (ReplaceConfig(by="a"), 3, ("a",)),
        (ReplaceConfig(by="nobody"), 1, ("b",)),
    ],
    ids=str,
)
def test_winner_and_its_owner(aggregation, token: int, standing: tuple[str, ...]) -> None:
    decide = decider(**({} if aggregation is None else {"aggregation": aggregation}))
    assert decide([B, NEAR_A]) == Pick(3, token, standing)


def test_one_row_alone_is_its_own_distribution() -> None:
    """Also where the others have no weight: unite would leave but one token to draw from."""
    sampling = Sampling(temperature=5.0, seed=3)
    alone = decider({"a": 1.0, "b": 0.0}, sampling, aggregation=UniteConfig(top_k=1))
    drawn = {
        alone([Row("a", position, A.entries), Row("b", position, B.entries)]).token
        for position in range(50)
    }
    assert drawn == {1, 2, 3, 4}


def test_owners_within_a_ten_thousandth_share() -> None:
    near = [row("a", 0, 0.5), row("b", 0, 0.5 * (1 - 5e-5)), row("c", 0, 0.5 * (1 - 3e-4))]
    assert owners(near, dict.fromkeys("abc", 1 / 3), 1) == ("a", "b")


def test_guard_keeps_the_anchor_where_winners_begin_alike() -> None:
    anchor, other = row("a", 0, 0.5, 0.4, 0, 0.1), row("b", 0, 0.1, 0.6, 0.2, 0.1)
    assert decider()([anchor, other]).token == 2
    assert decider(conflict_guard="a")([anchor, other]) == Pick(3, 1, ("a",))
    assert decider(conflict_guard=True)([anchor, other]).token == 1, "the first name leads"
    assert decider(conflict_guard="b")([anchor, other]).token == 2
    assert decider({"a": 0.4, "b": 0.6}, conflict_guard=True)([anchor, other]).token == 2


def test_guard_lets_other_winners_be() -> None:
    assert decider(conflict_guard="a")([NEAR_A, B]).token == 1, "no and Inc"
    sure_of_end = row("b", 0.9, 0, 0.1, 0, 0)
    assert decider(conflict_guard="a")([NEAR_A, sure_of_end]).token == 0, "END begins nothing"
    assert decider({**HALF, "c": 0.0}, conflict_guard="c")([NEAR_A, B]).token == 1, "it has no say"


def test_entropies_alone_need_all_entries() -> None:
    assert decider(aggregation=CoreConfig()).needs_all_entries
    assert decider(aggregation=EntropyConfig()).needs_all_entries
    for aggregation in (GeometricConfig(), MinConfig(), UniteConfig(), ReplaceConfig(by="a")):
        assert not decider(aggregation=aggregation).needs_all_entries
        assert decider(HALF, Sampling(temperature=1.0), aggregation=aggregation).needs_all_entries
    assert not decider({"a": 1.0}, aggregation=CoreConfig()).needs_all_entries, "one member alone"
