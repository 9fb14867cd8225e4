"""Where a step's time goes, as the engine tells it."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gac.engine.engine import Engine
from gac.engine.metrics import Spent
from gac.members.member import Reply

PHASES = ("forward", "row", "transport", "combine", "commit")
"""Forward, row and transport are the slowest member's of each step; a draft's picks are row."""


@dataclass(frozen=True, slots=True)
class Batch:
    """When one batch of a member was asked and answered, and what the member did meanwhile."""

    asked_at: float
    answered_at: float
    forward_s: float
    row_s: float

    @property
    def busy_s(self) -> float:
        """Its forward and its rows."""
        return self.forward_s + self.row_s

    @property
    def transport_s(self) -> float:
        """Everything else until the engine had the answer."""
        return self.answered_at - self.asked_at - self.busy_s


@dataclass(slots=True)
class _Recorded(Spent):
    """A member's counter that remembers every batch."""

    log: list[Batch] = field(default_factory=list)

    def note(self, reply: Reply, round_trip_s: float) -> None:
        """Add a batch that was answered."""
        Spent.note(self, reply, round_trip_s)
        now = time.perf_counter()
        self.log.append(Batch(now - round_trip_s, now, reply.forward_s, reply.row_s))


def record(engine: Engine) -> None:
    """Have an engine's counters remember batches from now on; it should be idle."""
    members = engine.metrics.members
    for name in members:
        members[name] = _Recorded()


@dataclass(frozen=True)
class Reading:
    """The time of day, and what the engine had counted by then."""

    at: float
    combine_s: float
    commit_s: float
    num_completed: int
    batches: tuple[Batch, ...]

    @classmethod
    def of(cls, engine: Engine) -> "Reading":
        """What there is to read now; the engine's batches are recorded."""
        metrics = engine.metrics
        logs = [spent.log for spent in metrics.members.values() if isinstance(spent, _Recorded)]
        batches = tuple(batch for log in logs for batch in log)
        completed = metrics.completed + metrics.dense
        now = time.perf_counter()
        return cls(now, metrics.combine_s, metrics.commit_s, completed, batches)


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
        slowest = slowest_of_each([one for one in last.batches if one.asked_at >= first.at])
        seconds = {
            "forward": sum(batch.forward_s for batch in slowest),
            "row": sum(batch.row_s for batch in slowest),
            "transport": sum(batch.transport_s for batch in slowest),
            "combine": last.combine_s - first.combine_s,
            "commit": last.commit_s - first.commit_s,
        }
        phases = {phase: each * 1000 / steps for phase, each in seconds.items()}
        step_ms = (last.at - first.at) * 1000 / steps
        completed = last.num_completed - first.num_completed
        return cls(step_ms, {**phases, "rest": step_ms - sum(phases.values())}, completed)

    @property
    def orchestration_ms(self) -> float:
        """All but the slowest forward and its row."""
        return self.step_ms - self.phases_ms["forward"] - self.phases_ms["row"]


def slowest_of_each(batches: Iterable[Batch]) -> list[Batch]:
    """Of the batches that were under way together, the one that took its member longest.

    Where every member is asked at every step, what overlaps is one step.
    """
    slowest: list[Batch] = []
    ends_at = 0.0
    for batch in sorted(batches, key=lambda batch: batch.asked_at):
        if batch.asked_at >= ends_at:
            slowest.append(batch)
        elif batch.busy_s > slowest[-1].busy_s:
            slowest[-1] = batch
        ends_at = max(ends_at, batch.answered_at)
    return slowest
