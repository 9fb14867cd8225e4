"""Where a step's time goes, as the engine tells it."""

import time
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass

from gac.engine.engine import Engine
from gac.engine.metrics import Metrics, Spent

PHASES = ("forward", "row", "transport", "combine", "commit")
"""Forward, row and transport are the slowest member's; a draft's picks count as row."""


@dataclass(frozen=True)
class Reading:
    """The time of day, and what the engine had counted by then."""

    at: float
    metrics: Metrics

    @classmethod
    def of(cls, engine: Engine) -> "Reading":
        """What there is to read now."""
        return cls(time.perf_counter(), deepcopy(engine.metrics))


@dataclass(frozen=True)
class Split:
    """Milliseconds a step, and the part of every phase; `rest` is what no phase claims."""

    step_ms: float
    phases_ms: Mapping[str, float]
    num_completed: int
    """Tokens whose first rows listed too little to decide."""

    @classmethod
    def between(cls, first: Reading, last: Reading, steps: float) -> "Split":
        """What so many steps took on average between two readings."""
        old, new = first.metrics, last.metrics
        slowest = max(
            (_difference(old.members[name], new.members[name]) for name in new.members),
            key=lambda spent: spent.forward_s + spent.row_s,
        )
        seconds = {
            "forward": slowest.forward_s,
            "row": slowest.row_s,
            "transport": slowest.transport_s,
            "combine": new.combine_s - old.combine_s,
            "commit": new.commit_s - old.commit_s,
        }
        phases = {phase: each * 1000 / steps for phase, each in seconds.items()}
        step_ms = (last.at - first.at) * 1000 / steps
        completed = new.completed + new.dense - old.completed - old.dense
        return cls(step_ms, {**phases, "rest": step_ms - sum(phases.values())}, completed)

    @property
    def orchestration_ms(self) -> float:
        """All but the slowest forward and its row."""
        return self.step_ms - self.phases_ms["forward"] - self.phases_ms["row"]


def _difference(old: Spent, new: Spent) -> Spent:
    return Spent(
        new.batches - old.batches,
        new.forward_s - old.forward_s,
        new.row_s - old.row_s,
        new.transport_s - old.transport_s,
    )
