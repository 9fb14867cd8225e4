"""Which sequence sits in which row of the cache, and which one must go.

The sequences of a batch have to be neighbours; they are brought together with the fewest slots
copied, so that a batch that is repeated moves nothing.  A retired sequence keeps its row until the
room is needed.  Knows neither token ids nor the model.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import accumulate

from gac.model.kv_cache import RowCache

_SMALLEST_LENGTH = 64  # slots per row at first; growth is by doubling


class Rows:
    """Owner of a `RowCache`: at most `max_rows` rows, and rows x length at most `max_tokens`."""

    def __init__(self, max_tokens: int, max_rows: int, max_length: int) -> None:
        self.cache = RowCache()
        self._max_tokens = max_tokens
        self._max_rows = max_rows
        self._max_length = min(max_length, max_tokens)
        self._owner: list[int | None] = []
        self._row: dict[int, int] = {}
        self._used: dict[int, int] = {}  # slots by sequence, in order of last use
        self._retired: set[int] = set()
        self._dirty: list[int] = []  # slots by row that were written since it was cleared

    def __contains__(self, sequence: int) -> bool:
        return sequence in self._row

    def release(self, sequence: int) -> None:
        """Give up the row of a sequence, if it has one."""
        self._retired.discard(sequence)
        self._used.pop(sequence, None)
        row = self._row.pop(sequence, None)
        if row is not None:
            self._owner[row] = None

    def reset(self) -> None:
        """Give up all rows and free the memory."""
        self.cache.reset()
        self._owner.clear()
        self._row.clear()
        self._used.clear()
        self._retired.clear()
        self._dirty.clear()

    def retire(self, sequence: int) -> None:
        """Keep the row of a sequence that has one only as long as nobody needs the room."""
        assert sequence in self._row
        self._retired.add(sequence)

    def revive(self, sequence: int, used: int) -> None:
        """Give a retired sequence's row to its heir, with the first `used` slots."""
        self._retired.remove(sequence)
        row = self._row[sequence]
        self.cache.clear(row, self._dirty[row], used)
        self._dirty[row] = used

    def touch(self, sequence: int) -> None:
        """Count a sequence as used just now."""
        self._used[sequence] = self._used.pop(sequence)

    @property
    def max_bytes(self) -> int:
        """Of the cache at its largest; 0 while nothing is allocated that shows a slot's size."""
        slots = self.cache.rows * self.cache.length
        if not slots:
            return 0
        allocated = sum(tensor.nbytes for tensor in self.cache.tensors())
        return allocated // slots * min(self._max_tokens, self._max_rows * self._max_length)

    @property
    def num_retired(self) -> int:
        """Rows that are held by retired sequences."""
        return len(self._retired)

    @property
    def num_free(self) -> int:
        """Rows that are allocated and held by nobody."""
        return len(self._owner) - len(self._row)

    def row_of(self, sequence: int) -> int:
        """The row of a sequence that has one."""
        return self._row[sequence]

    def fits(self, count: int, longest: int) -> bool:
        """Whether so many rows of that length may be held."""
        return count <= self._max_rows and count * longest <= self._max_tokens

    def reserve(self, lengths: Mapping[int, int]) -> list[int]:
        """Make room for a batch (slots wanted by sequence, itself within bounds).

        Returns the sequences that lost their rows to it: retired ones, for which the cache never
        grows, before others, and the least recently used first.
        """
        for sequence in lengths:
            self._used.pop(sequence, None)
            self._used[sequence] = lengths[sequence]
        evicted = []
        while not self.fits(len(self._used), self._longest()) or (
            self._retired and len(self._used) > self.cache.rows
        ):
            # The batch was just put at the end, and it fits alone.
            retired = (sequence for sequence in self._used if sequence in self._retired)
            oldest = next(retired, next(iter(self._used)))
            assert oldest not in lengths
            evicted.append(oldest)
            self.release(oldest)
        self._grow()
        return evicted

    def _longest(self) -> int:
        return max(self._used.values(), default=0)

    def _grow(self) -> None:
        """Change the cache's shape if it is too small, doubling within the bounds."""
        cache, count, longest = self.cache, len(self._used), self._longest()
        if count <= cache.rows and longest <= cache.length:
            return
        length = cache.length
        if longest > length:
            length = min(max(longest, 2 * length, _SMALLEST_LENGTH), self._max_length)
        length = min(length, self._max_tokens // count)
        rows = cache.rows
        if count > rows or rows * length > self._max_tokens:
            rows = min(max(count, 2 * rows), self._max_rows, self._max_tokens // length)
        residents = sorted(self._row, key=self._row.__getitem__)
        order = [self._row[sequence] for sequence in residents]
        cache.rebuild(rows, length, order, min(cache.length, length))
        self._dirty = [length] * len(order) + [0] * (rows - len(order))
        self._row = {sequence: row for row, sequence in enumerate(residents)}
        self._owner = [*residents, *([None] * (rows - len(residents)))]

    def copy(self, source: int, target: int, start: int, stop: int) -> None:
        """Copy slots of one sequence's row to another one's, who may have been reserved just now.

        A new row takes the first that is free, which is likely to be beside the others.
        """
        if target not in self._row:
            self._settle(target, self._owner.index(None))
        row = self._row[target]
        self.cache.move(self._row[source], row, stop, start)
        self._dirty[row] = max(self._dirty[row], stop)

    def arrange(self, batch: Sequence[int]) -> int:
        """Bring reserved sequences into neighbouring rows; gives the first."""
        rows = [self._row.get(sequence, -1) for sequence in batch]
        first = min(rows)
        if first < 0 or max(rows) - first >= len(rows):
            first = self._cheapest_window(set(batch))
            self._fill(first, batch)
        for row in range(first, first + len(batch)):
            owner = self._owner[row]
            assert owner is not None
            self._dirty[row] = max(self._dirty[row], self._used[owner])
        return first

    def _cheapest_window(self, batch: Collection[int]) -> int:
        """The first row of the run in which most is where it should be."""
        gains = [
            0 if owner is None else self._used[owner] if owner in batch else -self._used[owner]
            for owner in self._owner
        ]
        sums = [0, *accumulate(gains)]
        size = len(batch)
        return max(range(len(gains) - size + 1), key=lambda row: sums[row + size] - sums[row])

    def _fill(self, first: int, batch: Sequence[int]) -> None:
        window, wanted = range(first, first + len(batch)), set(batch)
        targets = [row for row in window if self._owner[row] not in wanted]
        targets.sort(key=lambda row: self._owner[row] is not None)
        outside = [sequence for sequence in batch if self._row.get(sequence, -1) not in window]
        outside.sort(key=lambda sequence: sequence in self._row)
        # Newcomers take free rows first; rows that are freed on the way serve whoever must leave.
        for sequence, target in zip(outside, targets, strict=True):
            self._seat(sequence, target, window)

    def _seat(self, sequence: int, target: int, window: range) -> None:
        """Put a sequence into a row, and the one that was there somewhere outside the window."""
        before, source = self._owner[target], self._row.get(sequence)
        if before is not None and source is not None:
            self._swap(source, target)
            return
        if before is not None:
            free = (row for row, owner in enumerate(self._owner) if owner is None)
            self._move(target, next(row for row in free if row not in window))
        if source is not None:
            self._move(source, target)
            return
        self._settle(sequence, target)

    def _settle(self, sequence: int, row: int) -> None:
        """Put a newcomer into a free row."""
        self.cache.clear(row, self._dirty[row])
        self._owner[row], self._row[sequence], self._dirty[row] = sequence, row, 0

    def _move(self, source: int, target: int) -> None:
        """Move a sequence into a free row."""
        sequence = self._owner[source]
        assert sequence is not None and self._owner[target] is None
        self.cache.clear(target, self._dirty[target])
        self.cache.move(source, target, self._used[sequence])
        self._owner[source], self._owner[target] = None, sequence
        self._row[sequence], self._dirty[target] = target, self._used[sequence]

    def _swap(self, one: int, other: int) -> None:
        """Exchange two sequences, with all that their rows hold."""
        self.cache.swap(one, other, max(self._dirty[one], self._dirty[other]))
        dirty, owner = self._dirty, self._owner
        dirty[one] = dirty[other] = max(dirty[one], dirty[other])
        owner[one], owner[other] = owner[other], owner[one]
        for row in (one, other):
            sequence = self._owner[row]
            assert sequence is not None
            self._row[sequence] = row
