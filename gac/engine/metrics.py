"""Counters of the engine, written by its thread and read by anybody."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from gac.members.member import Reply


@dataclass(slots=True)
class Spent:
    """What one member's batches took, in seconds: its model, its rows and drafts, the way.

    `won` counts the tokens it owns.
    """

    batches: int = 0
    forward_s: float = 0.0
    row_s: float = 0.0
    transport_s: float = 0.0
    won: int = 0

    def note(self, reply: Reply, round_trip_s: float) -> None:
        """Add a batch that was answered."""
        self.batches += 1
        self.forward_s += reply.forward_s
        self.row_s += reply.row_s
        self.transport_s += round_trip_s - reply.forward_s - reply.row_s


@dataclass(slots=True)
class Metrics:
    """What has happened since the start; a sequence counts once, by how it ended.

    `completed` counts the tokens that were not decided by the rows as they came and needed some
    entries more, `dense` those that needed all; drafted tokens count at every member that writes or
    judges them.  Of the tokens that strategies had `drafted`, `wasted` were dropped.
    For `ensembled` tokens more than one member was asked, for the others one `alone`.
    """

    finished: int = 0
    failed: int = 0
    aborted: int = 0
    evictions: int = 0
    ensembled: int = 0
    alone: int = 0
    completed: int = 0
    dense: int = 0
    drafted: int = 0
    wasted: int = 0
    combine_s: float = 0.0
    commit_s: float = 0.0
    members: dict[str, Spent] = field(default_factory=dict)

    @classmethod
    def of(cls, members: Iterable[str]) -> "Metrics":
        """Nothing yet, for these members."""
        return cls(members={name: Spent() for name in members})

    @property
    def tokens(self) -> int:
        """All that were committed."""
        return self.ensembled + self.alone

    def note_token(self, asked: Collection[str], owners: Iterable[str]) -> None:
        """A token was committed; END is none."""
        is_ensembled = len(asked) > 1
        self.ensembled += is_ensembled
        self.alone += not is_ensembled
        for owner in owners:
            self.members[owner].won += 1

    def note_completion(self, dense: bool) -> None:
        """A token's rows list too little."""
        self.completed += not dense
        self.dense += dense
