"""Beginnings that sequences share: their keys and values are copied, not computed again.

Few-shot prompts begin alike by the thousand.  A donor is any sequence that holds a row, also one
that was released and whose row nobody has needed since.  The ids decide, and nothing else: keys and
values are a function of ids and positions.  Knows no model and no tensor.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence

from gac.model.rows import Rows
from gac.model.sequences import Job, Told

SHORTEST = 16
"""Fewer ids are not worth the search and the copy."""


def common_length(one: "array[int]", other: "array[int]", at_most: int) -> int:
    """How many ids two sequences begin with in common, `at_most` if they are more.

    Halves of what is left are compared at C speed: 2 to 4 microseconds for thousands of ids.
    """
    same, end = 0, min(at_most, len(one), len(other))
    if one[:end] == other[:end]:
        return end
    while end - same > 1:
        middle = (same + end) // 2
        if one[same:middle] == other[same:middle]:
            same = middle
        else:
            end = middle
    return same


class Prefixes:
    """Finds donors among the holders of rows, and lets new ids inherit or copy from them.

    Mutates the rows, and how much of a sequence counts as computed.  `sequences` are those in use;
    the released ones are kept here.  Ids on different sides of `switch` (longrope) share nothing.
    """

    def __init__(self, rows: Rows, sequences: Mapping[int, Told], switch: int | None) -> None:
        self.num_reused_ids = 0
        self._rows = rows
        self._sequences = sequences
        self._switch = switch
        self._released: dict[int, Told] = {}

    def keep(self, told: Told) -> None:
        """Take over a sequence that was released, as a donor if it can be one."""
        if told.holder in self._rows and told.computed >= SHORTEST:
            self._rows.retire(told.holder)
            self._released[told.holder] = told
        else:
            self._rows.release(told.holder)

    def forget(self, holders: Iterable[int]) -> None:
        """Drop donors whose rows were needed."""
        for holder in holders:
            self._released.pop(holder, None)

    def reset(self) -> None:
        """Give up all rows and donors."""
        self._rows.reset()
        self._released.clear()

    def inherit(self, jobs: Sequence[Job]) -> None:
        """Before rows are reserved: let newcomers have the rows of donors that would lose them.

        Where there is room beside a donor, or another one that can go, it is copied from later.
        """
        newcomers = [job for job in jobs if job.holder not in self._rows]
        num_short = len(newcomers) - self._rows.num_free
        for job in newcomers:
            donor, common = self._donor(job)
            if donor is None:
                continue
            is_released = donor.holder in self._released
            is_mostly_used = 2 * common >= donor.computed
            if is_released and num_short > 0:
                if is_mostly_used or num_short >= self._rows.num_retired:
                    self._hand_over(donor, job, common)
                    num_short -= 1
                    continue
            self._rows.touch(donor.holder)

    def _hand_over(self, donor: Told, job: Job, common: int) -> None:
        del self._released[donor.holder]
        self._rows.revive(donor.holder, common)
        job.told.holder = donor.holder
        self._count(job, common)

    def ready(self, waiting: Sequence[Job]) -> list[Job]:
        """After rows were reserved: copy what donors have; give the jobs that have to compute.

        A job whose ids another one is about to compute is left for the next pass.
        """
        ready: list[Job] = []
        for job in waiting:
            donor, common = self._donor(job)
            if donor is not None:
                self._rows.copy(donor.holder, job.holder, job.told.computed, common)
                self._count(job, common)
            ahead, _ = self._longest(job, ((other.told, other.length) for other in ready))
            if job.remaining and ahead is None:
                ready.append(job)
        return ready

    def _count(self, job: Job, common: int) -> None:
        self.num_reused_ids += common - job.told.computed
        job.told.computed = common

    def _donor(self, job: Job) -> tuple[Told | None, int]:
        """Who has computed the longest beginning of a job's ids, and how long that is.

        Of equals the one used last: it is likely to lie beside the others of the batch.
        """
        return self._longest(job, self._candidates())

    def _candidates(self) -> Iterator[tuple[Told, int]]:
        for told in reversed(self._released.values()):
            yield told, told.computed
        for told in self._sequences.values():
            if told.holder in self._rows:
                yield told, told.computed

    def _longest(self, job: Job, candidates: Iterable[tuple[Told, int]]) -> tuple[Told | None, int]:
        """The candidate with most in common, each known to so many ids; none if it is too little.

        A job is no candidate for itself: it has no more than it has computed.
        """
        ids, computed = job.told.ids, job.told.computed
        longest = computed + SHORTEST - 1
        if len(ids) <= longest or (end := job.reusable) <= longest:
            return None, computed  # it decodes: a cheap no
        best, side = None, self._side(job.told)
        for told, known in candidates:
            # Most candidates are shorter than what was found, or differ right behind it.
            if known <= longest or told.ids[longest] != ids[longest]:
                continue
            common = common_length(told.ids, ids, min(known, end))
            if common > longest and self._side(told) == side:
                best, longest = told, common
            if longest == end:
                break
        return best, longest

    def _side(self, told: Told) -> bool:
        return self._switch is not None and len(told.ids) > self._switch
