"""The ids a sequence was told, and what one item of a batch changes and still needs.

Pure bookkeeping on the host: no tensors but the logits that are collected, no model, no rows.
"""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gac.core import Extend
from gac.errors import MemberError


class UnknownSequence(MemberError):
    """More ids of a sequence are said to be kept than it was told; tell all of them again."""


@dataclass(slots=True)
class Told:
    """The ids of a sequence, and how many of them have keys and values while it holds a row.

    `holder` is the name its row goes by: a sequence's id may be used again, a holder's may not.
    """

    holder: int
    ids: "array[int]" = field(default_factory=lambda: array("i"))
    computed: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """What ids and lengths are possible."""

    context: int
    memory: int
    num_ids: int

    def error_of(self, item: Extend, told: Told | None) -> MemberError | None:
        """Why an item cannot be computed, naming its sequence; None if it can."""
        known, length = len(told.ids) if told else 0, item.kept + len(item.tail)
        name, positions, tail = f"sequence {item.sequence}", item.positions, item.tail
        if not 0 <= item.kept <= known:
            reason = f"{item.kept} ids are to be kept, but {known} are known"
            return UnknownSequence(f"{name}: {reason}")
        if length > self.context:
            return MemberError(f"{name}: {length} ids exceed the context length of {self.context}")
        if length > self.memory:
            return MemberError(f"{name}: {length} ids exceed the cache of {self.memory} tokens")
        if positions and not 1 <= min(positions) <= max(positions) <= length:
            return MemberError(f"{name}: positions {positions} lie outside 1 to {length}")
        if tail and not 0 <= min(tail) <= max(tail) < self.num_ids:
            return MemberError(f"{name}: a token id lies outside 0 to {self.num_ids - 1}")
        return None


@dataclass(slots=True)
class Job:
    """One item of a batch after its ids were taken over, and the logits it has got so far."""

    item: Extend
    told: Told
    agreed: int
    """How many of the ids were there before."""
    dropped: "array[int]"
    wanted: list[int]
    """The wanted positions, ascending."""
    pieces: list[Tensor] = field(default_factory=list)

    @property
    def sequence(self) -> int:
        """The id of the sequence."""
        return self.item.sequence

    @property
    def holder(self) -> int:
        """The name that the sequence's row goes by."""
        return self.told.holder

    @property
    def length(self) -> int:
        """How many ids the sequence has now."""
        return len(self.told.ids)

    @property
    def remaining(self) -> int:
        """How many ids have no keys and values yet."""
        return len(self.told.ids) - self.told.computed

    @property
    def reusable(self) -> int:
        """How many ids need not be computed here: all before the next wanted position's last."""
        computed = self.told.computed
        return min((p - 1 for p in self.wanted if p > computed), default=self.length)

    def take_back(self) -> None:
        """Make the sequence what it was before the item."""
        del self.told.ids[self.agreed :]
        self.told.ids.extend(self.dropped)
        self.told.computed = 0

    def answer(self, num_logits: int, device: torch.device) -> Tensor:
        """The logits [len(positions), Vm] in the order they were asked for."""
        if not self.wanted:
            return torch.empty(0, num_logits, device=device)
        logits = self.pieces[0] if len(self.pieces) == 1 else torch.cat(self.pieces)
        if self.wanted == list(self.item.positions):
            return logits
        row = {position: row for row, position in enumerate(self.wanted)}
        return logits[[row[position] for position in self.item.positions]]


def answer_of(item: Extend, jobs: Sequence[Job], num_logits: int, device: torch.device) -> Tensor:
    """The logits [len(positions), Vm] of an item that was run as these jobs."""
    logits = [job.answer(num_logits, device) for job in jobs]
    if len(logits) == 1:
        return logits[0]
    told = (position for job in jobs for position in job.item.positions)
    row = {position: row for row, position in enumerate(told)}
    return torch.cat(logits)[[row[position] for position in item.positions]]


def sound(answers: Iterable[Tensor | MemberError]) -> list[Tensor]:
    """The logits of items that have to be possible; raises the first error among them."""
    found: list[Tensor] = []
    for answer in answers:
        if isinstance(answer, MemberError):
            raise answer
        found.append(answer)
    return found


def tell(item: Extend, told: Told) -> Job:
    """Take over an item's ids; what was computed is truncated to what still holds.

    Ids that the tail repeats are kept; the id before the first wanted position is computed (again),
    since logits are not stored.
    """
    agreed = _agreed(told.ids, item.kept, item.tail)
    dropped = told.ids[agreed:]
    del told.ids[agreed:]
    told.ids.extend(item.tail[agreed - item.kept :])
    wanted = sorted(set(item.positions))
    told.computed = min([told.computed, agreed, *(position - 1 for position in wanted[:1])])
    return Job(item, told, agreed, dropped, wanted)


def _agreed(ids: Sequence[int], kept: int, tail: Sequence[int]) -> int:
    """The length of the longest common prefix of `ids` and the kept ids with their tail."""
    for old, new in zip(ids[kept:], tail, strict=False):
        if old != new:
            break
        kept += 1
    return kept
