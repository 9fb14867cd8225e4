"""One forward pass over neighbouring rows of the cache: inputs in, wanted logits out.

Knows the arguments a causal language model of transformers takes; keeps no state of its own and
decides nothing about which sequences run.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor

from gac.model.graphs import Graphs, Recorder
from gac.model.kv_cache import Aim, RowCache
from gac.model.lean_choice import choose_lean
from gac.model.lean_llama import LeanLlama, Pass
from gac.model.loading import LoadedModel
from gac.model.masks import mask_plan


class CacheUse(StrEnum):
    """How a model can use the row cache, best first."""

    BATCHED = "batched"
    ONE_BY_ONE = "one by one"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Chunk:
    """The ids that one row computes in a pass, where they start, and which logits are wanted.

    `wanted` are ascending columns: c asks for the distribution after ids[: c + 1].
    """

    start: int
    ids: Sequence[int]
    wanted: Sequence[int]

    @property
    def stop(self) -> int:
        """The position behind the last id."""
        return self.start + len(self.ids)


class Forward:
    """Calls a model on chunks; which masks and arguments it takes is found out at the start."""

    def __init__(self, loaded: LoadedModel) -> None:
        self.model = loaded.model
        self._device = loaded.device
        self._name = loaded.name
        self.plan = mask_plan(loaded.model.config, loaded.dtype)
        taken = inspect.signature(loaded.model.forward).parameters
        self._known_lean = choose_lean(loaded, self.plan)
        self._lean: LeanLlama | Graphs | None = self._known_lean
        self._takes_positions = "position_ids" in taken
        self._takes_wanted = "logits_to_keep" in taken and self._can_pick()

    @property
    def is_lean(self) -> bool:
        """Whether cached passes are computed by our own lean code, not by the model's modules."""
        return self._lean is not None

    def use_lean(self, is_lean: bool) -> None:
        """Have cached passes computed by the lean code or by the model's modules from now on."""
        assert not is_lean or self._known_lean is not None
        self._lean = self._known_lean if is_lean else None

    def use_graphs(self, recorder: Recorder) -> Graphs:
        """Have small lean passes replay CUDA graphs, once `is_on` of these is set."""
        assert self._known_lean is not None
        graphs = self._lean = Graphs(self._known_lean, recorder, self._name)
        return graphs

    def whole(self, ids: Sequence[int]) -> Tensor:
        """Logits [T, Vm] after every id, computed from nothing."""
        batch = torch.tensor([list(ids)], device=self._device)
        return self.model(input_ids=batch, use_cache=False).logits[0]  # type: ignore[no-any-return]

    def _can_pick(self) -> bool:
        """Whether the model takes a boolean mask [B, T] of wanted logits (remote code may not)."""
        ids = torch.zeros(2, 3, dtype=torch.long, device=self._device)
        keep = torch.tensor([[True, False, True], [False, True, False]])
        try:
            with torch.inference_mode():
                logits = self.model(input_ids=ids, use_cache=False, logits_to_keep=keep).logits
        except (IndexError, RuntimeError, TypeError, ValueError):
            return False
        return logits.dim() == 2 and len(logits) == 3

    def fresh(self, chunk: Chunk) -> Tensor:
        """The wanted logits [N, Vm] of a chunk that starts at 0, without any cache."""
        ids, keep = self._tensor([chunk.ids]), self._keep([chunk], len(chunk.ids))
        return self._call([chunk], keep, input_ids=ids, use_cache=False)

    def cached(self, cache: RowCache, first: int, chunks: Sequence[Chunk]) -> Tensor:
        """The wanted logits [N, Vm], row by row, of chunks in the rows from `first` on.

        Mutates the cache: the chunks' slots are written.
        """
        starts, stops = [c.start for c in chunks], [c.stop for c in chunks]
        width, longest = max(len(c.ids) for c in chunks), max(stops)
        cache.aim(Aim(first, starts, stops, longest))
        ids = [
            [*c.ids, *([c.ids[-1]] * (width - len(c.ids)))] if len(c.ids) < width else c.ids
            for c in chunks
        ]
        even = len(chunks) == 1 or (min(starts) == max(starts) and min(stops) == longest)
        if self._lean is not None:
            positions = None if even else self._positions(starts, stops, width)
            places = self._places(chunks, width)
            batch = Pass(self._tensor(ids), positions, starts[0], longest, places)
            return self._lean(batch, cache).float()
        inputs: dict[str, Any] = {"input_ids": self._tensor(ids)}
        if self._takes_positions or not even:
            positions = self._positions(starts, stops, width)
            inputs["position_ids"] = positions
            if not even:
                # Rows of equal lengths need no mask of ours: the model makes its own, or none.
                assert self.plan is not None
                inputs["attention_mask"] = self.plan.build(positions, longest)
        keep = self._keep(chunks, width)
        return self._call(chunks, keep, past_key_values=cache, use_cache=True, **inputs)

    def _call(self, chunks: Sequence[Chunk], keep: Tensor | None, **inputs: Any) -> Tensor:
        if keep is None:
            logits = self.model(**inputs).logits
            return logits.flatten(0, 1).float()  # type: ignore[no-any-return]
        if self._takes_wanted:
            logits = self.model(**inputs, logits_to_keep=keep).logits  # [N, Vm]
        else:
            logits = self.model(**inputs).logits[keep]
        count = sum(len(chunk.wanted) for chunk in chunks)
        return logits[:count].float()  # type: ignore[no-any-return]

    def _keep(self, chunks: Sequence[Chunk], width: int) -> Tensor | None:
        """Boolean [B, T] on the CPU, true where logits are wanted; None where all are.

        At least one is true: a head of quantised weights refuses an empty input.  On the CPU it
        may index hidden states on any device, and needs no synchronisation.
        """
        if all(len(chunk.wanted) == width for chunk in chunks):
            return None
        keep = torch.zeros(len(chunks), width, dtype=torch.bool)
        for row, chunk in enumerate(chunks):
            keep[row, list(chunk.wanted)] = True
        if not any(chunk.wanted for chunk in chunks):
            keep[0, 0] = True
        return keep

    def _places(self, chunks: Sequence[Chunk], width: int) -> Tensor | None:
        """Places int64 [N] of the wanted logits among B*T; None where all are wanted."""
        if all(len(chunk.wanted) == width for chunk in chunks):
            return None
        wanted = [row * width + c for row, chunk in enumerate(chunks) for c in chunk.wanted]
        return torch.tensor(wanted, dtype=torch.long, device=self._device)

    def _positions(self, starts: Sequence[int], stops: Sequence[int], width: int) -> Tensor:
        """Positions int64 [B, T]; padding repeats a row's last."""
        if width == 1:
            return self._tensor([[start] for start in starts])
        columns = torch.arange(width, device=self._device)
        ends = self._tensor([[stop - 1] for stop in stops])
        return torch.minimum(self._tensor([[start] for start in starts]) + columns, ends)

    def _tensor(self, rows: Sequence[Sequence[int]]) -> Tensor:
        return torch.tensor(rows, device=self._device)
