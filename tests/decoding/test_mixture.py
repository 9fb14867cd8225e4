"""The mixture: one member a token, and the distribution that averaging would give."""

import numpy as np
import pytest

from gac.config import MixtureConfig
from gac.core import Row, Sampling, dense_entries
from gac.decoding.combine import combine
from gac.decoding.decide import Decider
from gac.decoding.flow import Commit, Query
from gac.decoding.mixture import MemberDraw
from gac.decoding.strategies import StrategyMaker
from gac.decoding.support import TokenOrder

MEMBERS = ("ada", "bora", "cleo")
WEIGHTS = {"ada": 0.5, "bora": 0.3, "cleo": 0.2}
PROBS = {
    "ada": [0.05, 0.6, 0.2, 0.1, 0.05],
    "bora": [0.3, 0.1, 0.1, 0.1, 0.4],
    "cleo": [0.0, 0.05, 0.05, 0.9, 0.0],
}
HASHES = np.random.default_rng(7).integers(0, 2**64, 5, dtype=np.uint64)
ORDER = TokenOrder(np.arange(5, dtype=np.int32), HASHES)
DRAWS = 8_000


def row(member: str, position: int) -> Row:
    return Row(member, position, dense_entries(np.array(PROBS[member], dtype=np.float32)))


def chi_square(counts: np.ndarray, shares: np.ndarray) -> float:
    expected = shares * counts.sum()
    return float(((counts - expected) ** 2 / expected).sum())


def written(weights: dict[str, float], seed: int, silent: frozenset[str] = frozenset()):
    """Who was asked at each position, and the tokens; contexts are the same at every one."""
    sampling = Sampling(temperature=1.0, seed=seed)
    make = StrategyMaker(MixtureConfig())
    decide = make.decider(MEMBERS, weights, sampling, ORDER, [])
    strategy = make(MEMBERS, decide)
    step = next(strategy)
    for position in range(DRAWS):
        asked = []
        while isinstance(step, Query):
            [member] = step.members
            asked.append(member)
            step = strategy.send([] if member in silent else [row(member, position)])
        assert isinstance(step, Commit) and [r.member for r in step.rows] == asked[-1:]
        pick = step.decide(step.rows)
        assert pick is not None
        yield asked, pick.token
        step = strategy.send(())


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_next_token_is_distributed_as_when_all_are_averaged(seed: int) -> None:
    counts = np.zeros(5)
    for _, token in written(WEIGHTS, seed):
        counts[token] += 1
    mean = combine([row(name, 0) for name in MEMBERS], WEIGHTS).low
    assert chi_square(counts, mean) < 23.5  # 4 degrees of freedom: chance of more is 1e-4
    drawn = np.zeros(5)
    averaged = Decider(WEIGHTS, Sampling(temperature=1.0, seed=seed), ORDER)
    for position in range(DRAWS):
        drawn[averaged([row(name, position) for name in MEMBERS]).token] += 1
    pooled = (counts + drawn) / (2 * DRAWS)
    assert chi_square(counts, pooled) + chi_square(drawn, pooled) < 23.5


def test_token_does_not_depend_on_who_was_drawn_but_by_its_row() -> None:
    """Token and member are drawn apart: among one member's tokens each has its own share."""
    counts = {name: np.zeros(5) for name in MEMBERS}
    for [member], token in written(WEIGHTS, 4):
        counts[member][token] += 1
    for name in ("ada", "bora"):
        assert chi_square(counts[name], np.array(PROBS[name])) < 23.5
    shares = np.array([counts[name].sum() for name in MEMBERS])
    assert chi_square(shares, np.array(list(WEIGHTS.values()))) < 18.4  # 2 degrees of freedom


def test_members_that_abstain_leave_their_share_to_the_others() -> None:
    counts = dict.fromkeys(MEMBERS, 0)
    for asked, _ in written(WEIGHTS, 5, silent=frozenset({"ada"})):
        counts[asked[-1]] += 1
    assert counts["ada"] == 0
    shares = np.array([counts["bora"], counts["cleo"]])
    assert chi_square(shares, np.array([0.6, 0.4])) < 15.2  # 1 degree of freedom


def test_member_without_weight_is_asked_only_when_nobody_else_is_left() -> None:
    weights = {"ada": 0.7, "bora": 0.3, "cleo": 0.0}
    assert all(asked != ["cleo"] for asked, _ in written(weights, 6))
    silent = frozenset({"ada", "bora"})
    assert all(asked[-1] == "cleo" for asked, _ in written(weights, 6, silent))


def test_draw_is_a_function_of_seed_choice_position_and_names() -> None:
    def orders(members=MEMBERS, **changes):
        sampling = Sampling(temperature=1.0, **{"seed": 1, **changes})
        return [MemberDraw(members, WEIGHTS, sampling).order(place) for place in range(200)]

    assert orders() == orders() == orders(members=MEMBERS[::-1])
    assert len({tuple(order) for order in orders()}) == 6
    assert orders() != orders(seed=2) and orders() != orders(choice=1)


def test_one_member_alone_is_asked_every_step() -> None:
    make = StrategyMaker(MixtureConfig())
    decide = make.decider(("ada",), {"ada": 1.0}, Sampling(), ORDER, [])
    assert next(make(("ada",), decide)) == Query(("ada",), until=0.0)
