"""Rotary positions: cosines and sines of all positions so far, and the turn they give.

Source: RoFormer (arXiv 2104.09864) section 3.4.2, with the halves of a head paired as in Llama.
"""

import torch
from torch import Tensor

_SMALLEST = 256


class RotaryTable:
    """Cosines and signed sines [length, 1, D]; grows by doubling with the positions asked for.

    `frequencies` float32 [D / 2]; `scaling` multiplies both (yarn).
    """

    def __init__(self, frequencies: Tensor, scaling: float, dtype: torch.dtype) -> None:
        self._frequencies, self._scaling, self._dtype = frequencies, scaling, dtype
        self._cos, self._sin = self._compute(_SMALLEST)

    def span(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Views for the positions from `start` up to `stop`."""
        self._reach(stop)
        return self._cos[start:stop], self._sin[start:stop]

    def at(self, positions: Tensor, stop: int) -> tuple[Tensor, Tensor]:
        """Copies for positions int64 [N], all below `stop`."""
        self._reach(stop)
        return self._cos[positions], self._sin[positions]

    def _reach(self, stop: int) -> None:
        if stop > len(self._cos):
            self._cos, self._sin = self._compute(max(stop, 2 * len(self._cos)))

    def _compute(self, length: int) -> tuple[Tensor, Tensor]:
        positions = torch.arange(length, device=self._frequencies.device, dtype=torch.float32)
        angles = positions[:, None, None] * self._frequencies.float()
        cos, sin = angles.cos() * self._scaling, angles.sin() * self._scaling
        both = torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)
        return both[0].to(self._dtype), both[1].to(self._dtype)


def turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Heads [N, H, D] turned by their positions' cosines and signed sines [N, 1, D]."""
    return x.roll(x.shape[-1] // 2, -1).mul_(sin).addcmul_(x, cos)
