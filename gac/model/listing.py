"""From a runner's logits to the entries that the engine asked for, and a memory of the last ones.

If the engine asks for more entries of a row, they are read from the tables that are remembered, and
nothing is computed twice.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch

from gac.core import Entries, Extend, dense_entries
from gac.errors import MemberError
from gac.model.projection import Projection, Table

ROW_SIZE = 64
"""Entries of a row that is not dense."""
REMEMBERED_BYTES = 32 * 2**20


@dataclass(slots=True)
class Wanted:
    """One distribution of an item: after how many ids, and whether the text must go on."""

    item: Extend
    length: int
    endless: bool


def wanted_rows(item: Extend) -> list[Wanted]:
    """The distributions an item asks for, drafted ones aside."""
    if item.lead:
        return [Wanted(item, item.positions[0], item.num_endless > 0)]
    return [Wanted(item, p, n < item.num_endless) for n, p in enumerate(item.positions)]


class Lister:
    """Lists entries of distributions, and remembers those of each sequence's last message."""

    def __init__(self, name: str, projection: Projection, row_size: int = ROW_SIZE) -> None:
        self._name = name
        self._projection = projection
        self._row_size = row_size
        self._kept: dict[int, dict[int, tuple[bool, Table]]] = {}
        self._memory = _Memory()

    def recall(self, item: Extend) -> list[Entries] | None:
        """The answer to an item that tells nothing new, if its distribution is still here."""
        if item.tail or item.lead or len(item.positions) != 1 or item.draft is not None:
            return None
        [wanted] = wanted_rows(item)
        endless, table = self._kept.get(item.sequence, {}).get(wanted.length, (None, None))
        if table is None or endless is not wanted.endless:
            return None
        return [self._list(table, item)]

    @torch.inference_mode()
    def rows(
        self, items: Sequence[Extend], logits: Sequence[torch.Tensor]
    ) -> list[list[Entries] | MemberError]:
        """The rows of items from their logits [positions, Vm], which are overwritten."""
        places = [place for place, item in enumerate(items) if item.positions and not item.lead]
        wanted = [one for place in places for one in wanted_rows(items[place])]
        rows: list[list[Entries] | MemberError] = [[] for _ in items]
        if wanted:
            pieces = [logits[place] for place in places]
            joined = pieces[0] if len(pieces) == 1 else torch.cat(pieces)
            table = self._projection.table(joined, [one.endless for one in wanted])
            listed = iter(self._listed(table, wanted))
            for place in places:
                rows[place] = _finite(self._name, [next(listed) for _ in items[place].positions])
        for place, item in enumerate(items):
            if item.lead:
                lead = self._projection.lead_row(logits[place], item.num_endless > 0)
                rows[place] = _finite(self._name, self._listed(lead, wanted_rows(item)))
        return rows

    def _listed(self, table: Table, wanted: Sequence[Wanted]) -> list[Entries]:
        """The entries of each row of a table; the largest of all in one go."""
        for place, one in enumerate(wanted):
            self._keep(one, table.row(place))
        if any(one.item.dense for one in wanted):
            return [self._list(table.row(place), one.item) for place, one in enumerate(wanted)]
        largest = iter(self._largest(table))
        rows: list[Entries] = []
        for _, same in groupby(wanted, key=lambda one: id(one.item)):
            asked = list(same)
            part = Table(table.columns, table.probs[len(rows) : len(rows) + len(asked)])
            rows += _widened([next(largest) for _ in asked], part, asked[0].item.entries)
        return rows

    def _list(self, row: Table, item: Extend) -> Entries:
        if item.dense:
            return dense_entries(row.columns.all_entries(row.probs)[0].cpu().numpy())
        return _widened(self._largest(row), row, item.entries)[0]

    def _largest(self, table: Table) -> list[Entries]:
        ids, probs = table.columns.largest(table.probs, self._row_size)
        all_ids, all_probs = ids.to(torch.int32).cpu().numpy(), probs.cpu().numpy()
        is_all = table.probs.shape[1] <= self._row_size
        return [_entries(ids, probs, is_all) for ids, probs in zip(all_ids, all_probs, strict=True)]

    def _keep(self, wanted: Wanted, table: Table) -> None:
        """Remember a distribution; the sequences that were asked longest ago are forgotten."""
        tables = self._kept.setdefault(wanted.item.sequence, {})
        self._memory.take(table)
        if wanted.length in tables:
            self._memory.give_back(tables[wanted.length][1])
        tables[wanted.length] = (wanted.endless, table)
        # One row keeps its whole table: to forget all rows of a batch but one would free nothing.
        most = max(REMEMBERED_BYTES, table.probs.untyped_storage().nbytes())
        while self._memory.num_bytes > most and len(self._kept) > 1:
            self.forget([next(iter(self._kept))])

    def forget(self, sequences: Iterable[int]) -> None:
        """Drop what is remembered of sequences, because they change or end."""
        for sequence in sequences:
            for _, table in self._kept.pop(sequence, {}).values():
                self._memory.give_back(table)


def _widened(rows: list[Entries], table: Table, union_ids: Sequence[int]) -> list[Entries]:
    """Rows with these entries of the table that they came from beside their own."""
    wanted = np.unique(np.array(union_ids, dtype=np.int32))
    if not wanted.size:
        return rows
    at = torch.from_numpy(wanted).to(table.probs.device, torch.long)
    probs = table.columns.entries(table.probs, at).cpu().numpy()  # [N, K]
    wide = []
    for row, given in zip(rows, probs, strict=True):
        is_new = ~np.isin(wanted, row.ids)
        ids = np.concatenate([row.ids, wanted[is_new]])
        wide.append(Entries(ids, np.concatenate([row.probs, given[is_new]]), row.bound))
    return wide


class _Memory:
    """Bytes of the tables in use: one row of a table keeps all of it alive."""

    def __init__(self) -> None:
        self.num_bytes = 0
        self._uses: dict[int, int] = {}

    def take(self, row: Table) -> None:
        """Count one more row in use."""
        storage = row.probs.untyped_storage()
        before = self._uses.get(storage.data_ptr(), 0)
        self._uses[storage.data_ptr()] = before + 1
        self.num_bytes += 0 if before else storage.nbytes()

    def give_back(self, row: Table) -> None:
        """Count one row less."""
        storage = row.probs.untyped_storage()
        left = self._uses.pop(storage.data_ptr()) - 1
        if left:
            self._uses[storage.data_ptr()] = left
        else:
            self.num_bytes -= storage.nbytes()


def _entries(ids: np.ndarray, probs: np.ndarray, is_all: bool) -> Entries:
    """Descending entries; probabilities of 0 are no entries, and leave nothing out."""
    smallest = float(probs[-1])
    if smallest > 0.0:
        return Entries(ids, probs, 0.0 if is_all else smallest)
    positive = ~(probs <= 0.0)  # keeps NaN, which `_finite` looks for
    return Entries(ids[positive], probs[positive], 0.0)


def _finite(name: str, rows: list[Entries]) -> list[Entries] | MemberError:
    """The rows before the first that has no finite probability; an error if none is left.

    Later rows follow drafted ids, which may never be part of the text.
    """
    for place, row in enumerate(rows):
        if not row.probs.size or not np.isfinite(row.probs.max()):
            error = MemberError(f"member {name!r} computed logits that are not finite")
            return rows[:place] or error
    return rows
