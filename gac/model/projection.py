"""A model's logits to distributions over the union vocabulary, on the model's own device.

Distributions stay in the model's columns, one for each of its ids, until entries are asked for; so
their cost does not depend on how large the union is.  Gets arrays and gives tensors; knows nothing
of tokens, members or strategies.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Places = NDArray[np.int32]

_BLOCK = 64
"""Columns whose maximum is looked at first when the largest are sought."""


class Columns:
    """Which union id each column of a table of probabilities stands for.

    Columns that share a union id are added up in the first of them, the others become 0.  No round
    of adding has a union id twice, so that sums are made in the same order on every device.  A sum
    that float32 rounds to more than 1 becomes 1.
    """

    def __init__(self, places: Places, union_size: int, device: torch.device) -> None:
        self._rounds: list[tuple[Tensor, Tensor]] = []
        columns = np.flatnonzero(places >= 0)
        union_ids, first = np.unique(places[columns], return_index=True)
        column_of = np.full(union_size, places.size, dtype=np.int64)
        column_of[union_ids] = columns[first]
        columns = np.delete(columns, first)
        while columns.size:
            targets, first = np.unique(places[columns], return_index=True)
            into = torch.from_numpy(column_of[targets]).to(device)
            self._rounds.append((torch.from_numpy(columns[first]).to(device), into))
            columns = np.delete(columns, first)
        self._column_of = torch.from_numpy(column_of).to(device)
        self._union_id = torch.from_numpy(places.astype(np.int64)).to(device)

    def add_up(self, probs: Tensor) -> Tensor:
        """Give every union id one column of a table [N, W]; mutates and returns it."""
        for columns, into in self._rounds:
            sums = probs.index_select(1, into) + probs.index_select(1, columns)
            probs[:, into] = sums.clamp_(max=1.0)
            probs[:, columns] = 0.0
        return probs

    def all_entries(self, table: Tensor) -> Tensor:
        """Probabilities [N, V] by union id."""
        padded = torch.nn.functional.pad(table, (0, 1))  # the last column is 0: nobody's id
        return padded.index_select(1, self._column_of)

    def entries(self, table: Tensor, union_ids: Tensor) -> Tensor:
        """Probabilities [N, K] of some union ids [K]."""
        columns = self._column_of[union_ids]
        width = table.shape[1]  # a column of that number is nobody's id, and its entry 0
        found = table.index_select(1, columns.clamp(max=width - 1))
        return found.masked_fill_(columns == width, 0.0)

    def largest(self, table: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Union ids int64 [N, K] and probabilities [N, K], descending, K <= count."""
        probs, columns = largest(table, min(count, table.shape[1]))
        return self._union_id[columns], probs


def largest(table: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Values and columns of the `count` largest entries of each row of a table [N, W], descending.

    All of them lie in the `count` blocks whose maxima are largest, so only those are searched.
    """
    num_blocks = table.shape[1] // _BLOCK
    if num_blocks <= 4 * count:
        return torch.topk(table, count)
    whole = num_blocks * _BLOCK
    blocks = table[:, :whole].view(len(table), num_blocks, _BLOCK)
    best = torch.topk(blocks.amax(-1), count, sorted=False).indices  # [N, count]
    inside = best[:, :, None] * _BLOCK + torch.arange(_BLOCK, device=table.device)
    columns = inside.flatten(1)
    if whole < table.shape[1]:
        rest = torch.arange(whole, table.shape[1], device=table.device)
        columns = torch.cat([columns, rest.expand(len(table), -1)], dim=1)
    values, at = torch.topk(table.gather(1, columns), count)
    return values, columns.gather(1, at)


@dataclass(frozen=True, slots=True)
class Table:
    """Distributions [N, W], each union id in at most one column."""

    columns: Columns
    probs: Tensor

    def row(self, place: int) -> "Table":
        """One of the distributions."""
        return Table(self.columns, self.probs[place : place + 1])


class Projection:
    """Logits [N, Vm], which it overwrites -> tables of probabilities whose rows sum to 1.

    `places` int32 [Vm] holds union ids, -1 for ids that get probability 0.  `lead_places` is the
    same for the first token of a reply that starts with a dummy space, if it ever does.
    """

    def __init__(
        self, places: Places, union_size: int, lead_places: Places | None, device: torch.device
    ) -> None:
        self._masked = torch.from_numpy(np.flatnonzero(places < 0)).to(device)
        self._ends = torch.from_numpy(np.flatnonzero(places == 0)).to(device)
        self._own = Columns(places, union_size, device)
        self._lead: Columns | None = None
        if lead_places is not None:
            self._lead = Columns(lead_places, union_size, device)
            # Ids of the lone space: they are text, but not at the start of a reply.
            dummies = np.flatnonzero((lead_places < 0) & (places >= 0))
            self._dummy_ids = torch.tensor(dummies, device=device)
            self._whole = Columns(np.arange(union_size, dtype=np.int32), union_size, device)

    @torch.inference_mode()
    def table(self, logits: Tensor, endless: Sequence[bool]) -> Table:
        """One distribution a row; where `endless`, given that the text goes on."""
        return Table(self._own, self._own.add_up(self._probs(logits, endless)))

    @torch.inference_mode()
    def lead_row(self, logits: Tensor, endless: bool) -> Table:
        """The first token of a reply, from the logits before and after a dummy space.

        P(x) = P(" x") + P("x") + P(" ") P(x | " "): exact where the member writes the space as a
        token of its own.  Given only the logits before it, that last term is left out.
        """
        if self._lead is None:
            raise ValueError("this member's replies do not start with a dummy space")
        probs = self._probs(logits, [False] * len(logits))
        dummy = probs[0, self._dummy_ids].sum()
        first = self._lead.all_entries(self._lead.add_up(probs[:1].clone()))
        if len(probs) == 1:
            first /= 1.0 - dummy
        else:
            first += dummy * self._own.all_entries(self._own.add_up(probs[1:]))
        if endless:
            first[:, 0] = 0.0
            first /= first.sum(dim=1, keepdim=True)
        return Table(self._whole, first.clamp_(max=1.0))

    def _probs(self, logits: Tensor, endless: Sequence[bool]) -> Tensor:
        """The softmax over what may be written; overwrites the logits."""
        # If a model is spread over several GPUs, its logits are on the last one.
        probs = logits.to(self._ends.device, torch.float32)
        probs.index_fill_(1, self._masked, float("-inf"))
        if any(endless):
            places = torch.from_numpy(np.flatnonzero(endless)).to(probs.device)
            probs[places[:, None], self._ends] = float("-inf")
        # `softmax`, as `exp` is slow on a CPU for results below the range of float32.  Denormals
        # become 0, as they would make the softmax five times as slow (measured).
        torch.set_flush_denormal(True)
        try:
            return probs.softmax(dim=1)
        finally:
            torch.set_flush_denormal(False)  # it would hold for all else on this thread
