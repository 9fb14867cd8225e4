"""A runner beside the truth, a plain forward pass over the same ids."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from gac.core import Extend
from gac.model.runner import CacheUse, ModelRunner
from gac.model.sequences import sound
from tests.support.examples import examples

Tiny = Callable[[str], Any]
Fresh = Callable[[Any, Sequence[int]], torch.Tensor]
TOLERANCE = 1e-4
FAMILIES = {
    "llama": CacheUse.BATCHED,
    "qwen2": CacheUse.BATCHED,
    "qwen2-half-sliding": CacheUse.BATCHED,
    "mistral-sliding": CacheUse.BATCHED,
    "gemma2": CacheUse.BATCHED,
    "phi3-longrope": CacheUse.BATCHED,
    "gpt-neox": CacheUse.BATCHED,
    "gpt2": CacheUse.BATCHED,
    "gpt-neo": CacheUse.ONE_BY_ONE,
    "bloom": CacheUse.ONE_BY_ONE,
    "mamba": CacheUse.NONE,
}
PROFILE = examples(20)


class Checked:
    """A runner beside the truth: every answer is compared with the oracle."""

    def __init__(self, model: Any, fresh: Fresh, tolerance: float = TOLERANCE, **bounds: Any):
        self.runner = ModelRunner(model, **bounds)
        self.model = model
        self.fresh = fresh
        self.tolerance = tolerance
        self.ids: dict[int, list[int]] = {}

    def extend(self, batch: Sequence[Extend]) -> None:
        answers = sound(self.runner.extend(batch))
        for item, logits in zip(batch, answers, strict=True):
            ids = [*self.ids.get(item.sequence, [])[: item.kept], *item.tail]
            self.ids[item.sequence] = ids
            assert logits.shape == (len(item.positions), self.runner._loaded.num_logits)
            assert logits.dtype == torch.float32
            if item.positions:
                # Each from its own ids: a model with longrope sees others in a longer sequence.
                expected = torch.stack(
                    [self.fresh(self.model, ids[:p])[-1] for p in item.positions]
                )
                torch.testing.assert_close(logits, expected, atol=self.tolerance, rtol=0.0)

    def release(self, sequence: int) -> None:
        self.runner.release([sequence])
        self.ids.pop(sequence, None)


def held_slots(runner: ModelRunner) -> int:
    """K/V slots that are really allocated, found from the sizes of the tensors."""
    tensors = list(runner._rows.cache.tensors())
    slots = {tensor.shape[0] * tensor.shape[2] for tensor in tensors}
    assert all(tensor.numel() == tensor.untyped_storage().nbytes() // 4 for tensor in tensors)
    assert len(slots) <= 1
    return max(slots, default=0)
