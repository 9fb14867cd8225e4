"""Strategies ask whom the paper says, in the order it says."""

import numpy as np
import pytest

from gac.config import EveryStepConfig, ThresholdConfig
from gac.core import Pick, Row, dense_entries
from gac.decoding.flow import Commit, Query, Rows, Strategy, Verdict
from gac.decoding.safe import Doubt
from gac.decoding.strategies import StrategyMaker
from gac.decoding.support import TokenOrder

MEMBERS = ("a", "gate", "b")


def decide(rows: Rows) -> Pick:
    return Pick(rows[0].position, 1, tuple(row.member for row in rows))


def row(member: str, confidence: float) -> Row:
    probs = np.array([0.0, confidence, 1.0 - confidence], dtype=np.float32)
    return Row(member, 0, dense_entries(probs))


def committed(step: object) -> tuple[str, ...]:
    """Whose rows a commit is decided by."""
    assert isinstance(step, Commit) and step.decide is decide
    return tuple(row.member for row in step.rows)


def start(config, members=MEMBERS) -> tuple[Strategy, object]:
    strategy = StrategyMaker(config)(members, decide)
    return strategy, next(strategy)


def test_every_step_asks_everybody_again_and_again() -> None:
    strategy, step = start(EveryStepConfig())
    for _ in range(3):
        assert step == Query(MEMBERS)
        assert committed(strategy.send([row(name, 0.9) for name in MEMBERS])) == MEMBERS
        step = strategy.send(())


def test_gate_above_threshold_asks_nobody_else() -> None:
    strategy, step = start(ThresholdConfig(gate="gate", threshold=0.6))
    assert step == Query(("gate",), until=0.6)
    assert committed(strategy.send([row("gate", 0.75)])) == ("gate",)
    assert strategy.send(()) == Query(("gate",), until=0.6)


def test_gate_at_the_threshold_asks_the_others() -> None:
    strategy, _ = start(ThresholdConfig(gate="gate", threshold=0.75))
    assert strategy.send([row("gate", 0.75)]) == Query(("a", "b"))
    together = strategy.send([row("a", 0.9), row("b", 0.9)])
    assert committed(together) == ("gate", "a", "b")


def test_replace_leaves_the_gate_out() -> None:
    strategy, _ = start(ThresholdConfig(gate="gate", threshold=0.9, below="replace"))
    strategy.send([row("gate", 0.75)])
    assert committed(strategy.send([row("a", 0.9), row("b", 0.9)])) == ("a", "b")


def test_replace_falls_back_on_the_gate_when_all_others_abstain() -> None:
    strategy, _ = start(ThresholdConfig(gate="gate", threshold=0.9, below="replace"))
    strategy.send([row("gate", 0.75)])
    assert committed(strategy.send([])) == ("gate",)


def test_gate_that_abstains_is_never_sure() -> None:
    strategy, _ = start(ThresholdConfig(gate="gate", threshold=0.1))
    assert strategy.send([]) == Query(("a", "b"))
    assert committed(strategy.send([row("b", 0.9)])) == ("b",)


def test_without_its_gate_or_alone_a_member_is_asked_every_step() -> None:
    config = ThresholdConfig(gate="gate", threshold=0.5)
    assert start(config, ("a", "b"))[1] == Query(("a", "b"))
    assert start(config, ("gate",))[1] == Query(("gate",), until=0.0)


ABOVE_ONE = float(np.nextafter(np.float32(1.0), np.float32(2.0)))


@pytest.mark.parametrize("below", ["ensemble", "replace"])
def test_no_gate_is_surer_than_a_threshold_of_one(below: str) -> None:
    """Though float32 may sum its probabilities to 1.0000001."""
    strategy, _ = start(ThresholdConfig(gate="gate", threshold=1.0, below=below))
    assert strategy.send([row("gate", ABOVE_ONE)]) == Query(("a", "b"))


def test_no_drafter_is_surer_than_an_extra_gate_of_one() -> None:
    order = TokenOrder(np.arange(3, dtype=np.int32), np.zeros(3, dtype=np.uint64))
    doubt = Doubt("gate", dict.fromkeys(MEMBERS, 1 / 3), 1.0, 1.0, True, order)
    own, no = row("gate", ABOVE_ONE), Verdict(agrees=False, probability=0.0)
    assert doubt.asks(own, decide([own]), {"a": no, "b": no})
