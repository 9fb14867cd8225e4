"""Measures how a model can use the row cache, by comparing with plain forward passes.

A list of architectures would be wrong with the next one; a few ids of random text are not.  What a
few ids cannot show (windows longer than they are) is read from the config in `masks`.
"""

import logging
import random
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from gac.core import Extend
from gac.errors import MemberError
from gac.model.forward import CacheUse, Forward
from gac.model.loading import LoadedModel
from gac.model.sequences import sound

logger = logging.getLogger(__name__)

_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-4}
"""Largest root mean square of the error, relative to the logits' own spread."""
_HALF_TOLERANCE = 1e-1
_QUANTIZED_TOLERANCE = 2e-1
_LENGTHS = (8, 7, 4)


class Extends(Protocol):
    """What can be checked."""

    def extend(self, batch: Sequence[Extend]) -> list[Tensor | MemberError]:
        """Logits per item, or why there are none."""


def choose_cache(
    loaded: LoadedModel, forward: Forward, runner: Callable[[CacheUse], Extends]
) -> CacheUse:
    """The best use of the cache whose logits equal those of plain passes within `tolerance`."""
    texts = _texts(loaded)
    with torch.inference_mode():
        expected = [forward.whole(text).float() for text in texts]

    def is_close(use: CacheUse) -> bool:
        try:
            error = _largest_error(runner(use), texts, expected)
        except torch.OutOfMemoryError:
            raise
        except Exception as reason:  # whatever a model does with a cache that it does not expect
            logger.info("%s: cache use %s fails: %r", loaded.name, use.name, reason)
            return False
        if error > tolerance(loaded):
            logger.info("%s: cache use %s differs by %.1e", loaded.name, use.name, error)
        return error <= tolerance(loaded)

    is_batched = forward.plan is not None and is_close(CacheUse.BATCHED)
    if forward.is_lean and not is_batched:
        logger.warning(
            "%s: the lean forward pass gives other logits than the model; it is not used",
            loaded.name,
        )
        forward.use_lean(False)
        is_batched = is_close(CacheUse.BATCHED)
    if is_batched:
        return CacheUse.BATCHED
    if is_close(CacheUse.ONE_BY_ONE):
        logger.warning(
            "%s: its cache cannot hold several sequences; they run one by one", loaded.name
        )
        return CacheUse.ONE_BY_ONE
    logger.warning(
        "%s: it cannot use a cache and computes every text anew at each step", loaded.name
    )
    return CacheUse.NONE


def tolerance(loaded: LoadedModel) -> float:
    """The largest error that rounding explains, as `error_of` measures it."""
    if loaded.is_quantized:
        return _QUANTIZED_TOLERANCE
    return _TOLERANCE.get(loaded.dtype, _HALF_TOLERANCE)


def _texts(loaded: LoadedModel) -> list[list[int]]:
    """Three random texts, and a fourth that begins like the second."""
    draw = random.Random(0)
    lengths = [min(length, loaded.max_length) for length in _LENGTHS]
    texts = [[draw.randrange(loaded.num_ids) for _ in range(length)] for length in lengths]
    return [*texts, [*texts[1][:2], *(draw.randrange(loaded.num_ids) for _ in range(2))]]


def _largest_error(
    runner: Extends, texts: Sequence[Sequence[int]], expected: Sequence[Tensor]
) -> float:
    """The worst relative error over a small program of ragged batches.

    In the second the longest row computes one id beside rows that compute three: a model that
    derives positions from the number of keys, not from `position_ids`, is wrong there.
    """
    program = [
        ((0, 0, 6), (1, 0, 3), (2, 0, 1)),
        ((0, 6, 7), (1, 3, 6), (2, 1, 3)),
        ((0, 7, 8), (1, 6, 7), (2, 3, 4)),
        ((3, 2, 4), (0, 7, 8)),
    ]
    worst = 0.0
    for batch in program:
        items, targets = [], []
        for text, kept, length in batch:
            ids, sequence = texts[text], 1 if text == 3 else text
            kept, length = min(kept, len(ids)), min(length, len(ids))
            positions = tuple(range(kept + 1, length + 1))
            items.append(Extend(sequence, kept, tuple(ids[kept:length]), positions))
            targets.append(expected[text][kept:length])
        for logits, target in zip(sound(runner.extend(items)), targets, strict=True):
            worst = max(worst, error_of(logits, target))
    return worst


def error_of(logits: Tensor, expected: Tensor) -> float:
    """Root mean square of the difference relative to the spread of the expected; 0 if empty."""
    if not expected.numel():
        return 0.0
    spread = (expected - expected.mean(-1, keepdim=True)).square().mean().sqrt()
    error = (logits - expected).square().mean().sqrt() / spread.clamp_min(1e-30)
    return float(error) if bool(error.isfinite()) else float("inf")
