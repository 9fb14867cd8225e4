"""Who may run, who must wait, and what goes into a member's next batch.

One decision for all members: a sequence runs everywhere or nowhere.  Holds sequences, asks nobody.
"""

from bisect import insort
from collections.abc import Iterable, Mapping

from gac.core import Extend
from gac.engine.sequence import Sequence

DECODE_IDS = 16
"""Up to so many missing ids a sequence counts as decoding and goes before long prefills."""


class Scheduler:
    """Running and waiting sequences, both from old to young.

    `capacities` are the K/V slots of each member; a batch of sequences takes as many rows of as
    many slots as its longest one has ids, which is how runners hold them.  `catch_up_ids` says how
    many ids an idle member must lack before it computes them unasked.
    """

    def __init__(
        self, capacities: Mapping[str, int], catch_up_ids: Mapping[str, int], max_running: int
    ) -> None:
        self._capacities = capacities
        self._catch_up_ids = catch_up_ids
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
        contexts = [sequence.contexts for sequence in sequences]
        for member, capacity in self._capacities.items():
            lengths = [len(own[member].ids) + 1 for own in contexts if member in own]
            if lengths and len(lengths) * max(lengths) > capacity:
                return False
        return True

    def batch(self, member: str, max_ids: int) -> list[tuple[Sequence, Extend]]:
        """The open queries for a member, at most `max_ids` new ids in all.

        Decoding sequences first, then prefills from old to young, the last one cut to what is left.
        A member that nobody waits for gets the oldest sequence it lags behind in, if it does.
        """
        wanting = [sequence for sequence in self.running if sequence.wants(member)]
        wanting.sort(key=lambda s: (s.num_missing(member) > DECODE_IDS, s.number))
        if not wanting:
            return self._catching_up(member, max_ids)
        batch = []
        for sequence in wanting:
            if max_ids <= 0:
                break
            missing = sequence.num_missing(member)
            batch.append((sequence, sequence.ask(member, max_ids)))
            max_ids -= missing
        return batch

    def _catching_up(self, member: str, max_ids: int) -> list[tuple[Sequence, Extend]]:
        """One sequence's ids for an idle member: short, as a query may come at any time."""
        at_least = self._catch_up_ids[member]
        lagging = (sequence for sequence in self.running if sequence.lags(member, at_least))
        oldest = next(lagging, None)
        return [] if oldest is None else [(oldest, oldest.catch_up(member, max_ids))]
