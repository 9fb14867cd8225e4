"""Who may run, who must wait, and what goes into a member's next batch.

One decision for all members: a sequence runs everywhere or nowhere.  Holds sequences, asks nobody.
"""

from bisect import insort
from collections.abc import Iterable, Mapping

from gac.core import Extend
from gac.engine.ensemble import Portions
from gac.engine.sequence import Sequence

DECODE_IDS = 16
"""Up to so many missing ids a sequence counts as decoding and goes before long prefills."""

MOST_ROWS = 512
"""A row is as long as the member's vocabulary, and all of a batch are there at once."""

Batch = list[tuple[Sequence, Extend]]
"""What a member is told next, sequence by sequence."""


class Scheduler:
    """Running and waiting sequences, both from old to young.

    At each member a batch of sequences takes as many rows of as many slots as its longest one has
    ids, which is how runners hold them.
    """

    def __init__(self, portions: Mapping[str, Portions], max_running: int) -> None:
        self._portions = portions
        self._max_running = max_running
        self.running: list[Sequence] = []
        self.waiting: list[Sequence] = []

    def add(self, sequence: Sequence) -> None:
        """Put a sequence among those that wait, in the order of age."""
        insort(self.waiting, sequence, key=lambda waiting: waiting.number)

    def remove(self, sequence: Sequence) -> None:
        """Drop a sequence that has finished, wherever it is."""
        place = self.running if sequence in self.running else self.waiting
        place.remove(sequence)

    def admit(self) -> None:
        """Let the oldest waiting sequences run while there is room; alone, one always may."""
        while self.waiting and len(self.running) < self._max_running:
            if self.running and not self._fits([*self.running, self.waiting[0]]):
                return
            self.running.append(self.waiting.pop(0))
            self.running[-1].note_admitted()
            self.running.sort(key=lambda sequence: sequence.number)

    def evict(self) -> list[Sequence]:
        """Take the youngest sequences off until the rest fits; they wait and start over later."""
        evicted = []
        while len(self.running) > 1 and not self._fits(self.running):
            youngest = self.running.pop()
            self.add(youngest)
            evicted.append(youngest)
        return evicted

    def _fits(self, sequences: Iterable[Sequence]) -> bool:
        sequences = list(sequences)
        for member, portions in self._portions.items():
            lengths = [s.num_slots(member) for s in sequences if member in s.contexts]
            if lengths and len(lengths) * max(lengths) > portions.capacity:
                return False
        return True

    def usage(self, member: str) -> float:
        """The share of a member's slots that running sequences take; may be called from any thread.

        As rows of one length, which is how the member keeps them.
        """
        contexts = (sequence.contexts.get(member) for sequence in list(self.running))
        lengths = [len(context.ids) for context in contexts if context is not None]
        return len(lengths) * max(lengths, default=0) / self._portions[member].capacity

    def batch(self, member: str, max_ids: int) -> Batch:
        """The open queries for a member, at most `max_ids` new ids in all.

        Decoding sequences first, then prefills from old to young, the last one cut to what is left:
        a few ids only while somebody decodes, at least one if there is room for two.
        A member that nobody waits for gets the oldest sequence it lags behind in, if it does.
        """
        wanting = [sequence for sequence in self.running if sequence.wants(member)]
        if not wanting:
            return self._catching_up(member, max_ids)
        decoding = [s for s in wanting if s.num_missing(member) <= DECODE_IDS]
        prefilling = [s for s in wanting if s.num_missing(member) > DECODE_IDS]
        batch: Batch = []
        room = max_ids - 1 if prefilling and max_ids > 1 else max_ids
        left = max_ids - room + _fill(decoding, member, room, batch)
        if decoding or self._others_decode(member, prefilling):
            left = min(left, self._portions[member].prefill_ids)
        _fill(prefilling, member, left, batch)
        return batch

    def _others_decode(self, member: str, prefilling: Iterable[Sequence]) -> bool:
        """Whether another sequence that decodes may need this member while it prefills these.

        It need not ask now: its step may be waiting for a slower member's row.
        """
        busy = {sequence.number for sequence in prefilling}
        return any(
            sequence.is_decoding and member in sequence.contexts and sequence.number not in busy
            for sequence in self.running
        )

    def _catching_up(self, member: str, max_ids: int) -> Batch:
        """One sequence's ids for an idle member: short, as a query may come at any time."""
        at_least = self._portions[member].catch_up_ids
        lagging = (sequence for sequence in self.running if sequence.lags(member, at_least))
        oldest = next(lagging, None)
        if oldest is None:
            return []
        if self._others_decode(member, [oldest]):
            max_ids = min(max_ids, self._portions[member].prefill_ids)
        return [(oldest, oldest.catch_up(member, max_ids))]


def _fill(sequences: Iterable[Sequence], member: str, max_ids: int, batch: Batch) -> int:
    """Add sequences to a batch until it has `max_ids` more ids; returns how many ids are left.

    Where known text is scored, it may have as many rows as ids, and ends at `MOST_ROWS`.
    """
    num_rows = sum(len(item.positions) for _, item in batch)
    for sequence in sequences:
        if max_ids <= 0 or num_rows >= MOST_ROWS:
            break
        missing = sequence.num_missing(member)
        item = sequence.ask(member, max_ids)
        batch.append((sequence, item))
        num_rows += len(item.positions)
        max_ids = max(0, max_ids - max(missing, len(item.tail)))  # a draft to score comes on top
    return max_ids
