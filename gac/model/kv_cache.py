"""The keys and values of many sequences, one row each, in one pair of tensors per layer.

A forward pass reads and writes a run of neighbouring rows through views; nothing is copied while
shapes stay as they are.  Sliding-window layers keep everything, their mask hides it.  Knows rows
and slots only: not which sequence sits where, nor why a row is moved.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import Cache


@dataclass(slots=True)
class Aim:
    """The slots that the next pass writes: from `starts[b]` up to `stops[b]` in row `first` + b."""

    first: int
    starts: Sequence[int]
    stops: Sequence[int]
    longest: int

    def index(self) -> tuple[Tensor, ...]:
        """Where a new key goes (row, slot) and where it is found (item, column); int64 [N] each."""
        starts, stops = torch.tensor(self.starts), torch.tensor(self.stops)
        if (stops - starts == 1).all():
            return self.first + torch.arange(len(starts)), starts
        columns = torch.arange(int((stops - starts).max()))
        item, column = (columns < (stops - starts)[:, None]).nonzero(as_tuple=True)
        return self.first + item, starts[item] + column, item, column


class RowCache(Cache):
    """Keys and values [rows, heads, length, head_dim] per layer, on that layer's device.

    `update` is called by the model once per layer; everything else by the owner of the rows.
    Slots that were never written are zero: a masked slot still takes part in a product.
    """

    def __init__(self) -> None:
        super().__init__(layers=[])
        self.rows = 0
        self.length = 0
        self.stamp = object()
        """Another one whenever tensors were allocated anew or freed."""
        self._keys: dict[int, Tensor] = {}
        self._values: dict[int, Tensor] = {}
        self._aim = Aim(0, (0,), (0,), 0)
        self._index: dict[torch.device, tuple[Tensor, ...]] = {}

    def tensors(self) -> Iterator[Tensor]:
        """All that is allocated."""
        yield from self._keys.values()
        yield from self._values.values()

    def stored(self, layer: int) -> tuple[Tensor, Tensor]:
        """All keys and values of a layer that was written before."""
        return self._keys[layer], self._values[layer]

    @property
    def first(self) -> int:
        """The first row of the pass."""
        return self._aim.first

    def aim(self, aim: Aim) -> None:
        """Set what the next forward pass reads and writes."""
        self._aim = aim
        self._index.clear()

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Store new keys and values [B, heads, T, D]; give views [B, heads, longest, D] of all."""
        keys = self._keys.get(layer_idx)
        if keys is None:
            keys = self._keys[layer_idx] = self._allocate(key_states)
            self._values[layer_idx] = self._allocate(value_states)
        values, aim = self._values[layer_idx], self._aim
        if len(aim.starts) == 1:
            start, stop, row = aim.starts[0], aim.stops[0], aim.first
            keys, values = keys[row : row + 1, :, :stop], values[row : row + 1, :, :stop]
            keys[:, :, start:] = key_states
            values[:, :, start:] = value_states
            return keys, values
        self._scatter(keys, key_states)
        self._scatter(values, value_states)
        rows = slice(aim.first, aim.first + len(aim.starts))
        return keys[rows, :, : aim.longest], values[rows, :, : aim.longest]

    def _scatter(self, stored: Tensor, new: Tensor) -> None:
        index = self._index.get(stored.device)
        if index is None:
            index = tuple(part.to(stored.device) for part in self._aim.index())
            self._index[stored.device] = index
        source = new[:, :, 0] if len(index) == 2 else new[index[2], :, index[3]]
        stored[index[0], :, index[1]] = source  # [N, heads, head_dim]

    def _allocate(self, like: Tensor) -> Tensor:
        self.stamp = object()
        return like.new_zeros(self.rows, like.shape[1], self.length, like.shape[3])

    def rebuild(self, rows: int, length: int, order: Sequence[int], used: int) -> None:
        """Change the shape: the old rows `order` become 0, 1 ...; `used` slots of each survive.

        One tensor after the other, so that at most one old tensor lives beside its successor.
        """
        self.rows, self.length = rows, length
        for stored in (self._keys, self._values):
            for layer, old in stored.items():
                stored[layer] = self._allocate(old)
                if order and used:
                    stored[layer][: len(order), :, :used] = old[list(order), :, :used]

    def reset(self) -> None:
        """Free everything."""
        self.rows = self.length = 0
        self.stamp = object()
        self._keys.clear()
        self._values.clear()

    def move(self, source: int, target: int, used: int, start: int = 0) -> None:
        """Copy the slots of a row from `start` up to `used` over another one's."""
        for stored in self.tensors():
            stored[target, :, start:used] = stored[source, :, start:used]

    def swap(self, one: int, other: int, used: int) -> None:
        """Exchange the first `used` slots of two rows."""
        for stored in self.tensors():
            kept = stored[one, :, :used].clone()
            stored[one, :, :used] = stored[other, :, :used]
            stored[other, :, :used] = kept

    def clear(self, row: int, used: int, start: int = 0) -> None:
        """Forget a row: what an earlier sequence left (infinities, say) must not reach the next."""
        if used > start:
            for stored in self.tensors():
                stored[row, :, start:used].zero_()

    # What the model asks of a cache; one row, or rows of equal lengths, may rely on it.

    def __len__(self) -> int:
        return len(self._keys)

    def __bool__(self) -> bool:
        return True

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """How many slots the first row of the pass had before it."""
        return self._aim.starts[0]

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        """How many keys attention will see, and the position of the first."""
        return self._aim.longest, 0

    def get_max_length(self, layer_idx: int | None = None) -> int:
        """No maximum that the model should act on."""
        return -1


class Window:
    """Neighbouring rows of a cache, read up to one length and written where a tensor says.

    Unlike an aim it holds no number that differs between passes of one shape.
    """

    def __init__(self, cache: RowCache, first: int, slots: Tensor, length: int) -> None:
        """`slots` int64 [B, T] are read anew by every update."""
        self._cache, self._slots, self._length = cache, slots, length
        self._window = slice(first, first + len(slots))
        rows = torch.arange(first, first + len(slots), device=slots.device)
        self._rows = rows[:, None].repeat(1, slots.shape[1])

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int) -> list[Tensor]:
        """Store new keys and values [B, heads, T, D]; give views [B, heads, length, D]."""
        stored = self._cache.stored(layer_idx)
        for one, new in zip(stored, (key_states, value_states), strict=True):
            one[self._rows, :, self._slots] = new.transpose(1, 2)  # [B, T, heads, D]
        return [one[self._window, :, : self._length] for one in stored]
