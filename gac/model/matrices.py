"""Linear layers of one input as one matrix, laid out as its device reads it fastest.

The modules keep working: their parameters become views of the matrix.  Knows nothing of what the
layers mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_LONG, _LARGE = 512, 2**18
"""From so many inputs, and so many numbers in all, on weights are stored as `nn.Linear` does.

Others are stored input by output, which multiplies one row of activations by weights [864, 288] in
0.8 of the time.  With weights [2304, 768] it takes 0.95, but two rows take 1.6 and 100 take 1.2 of
the time (measured, float32, AVX-512; so is the number below).
"""
_COLUMN_ROWS = range(4, 49)
"""So many rows of activations MKL multiplies faster laid out in columns: 24 in 0.7 of the time."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """Weights [out, in], in memory either way round, and a bias [out]."""

    weight: Tensor
    bias: Tensor | None
    by_columns: bool = False
    """Whether some numbers of rows of activations are laid out in columns first."""

    def __call__(self, x: Tensor) -> Tensor:
        """The product [N, out] of activations [N, in]."""
        if not self.by_columns or len(x) not in _COLUMN_ROWS:
            return F.linear(x, self.weight, self.bias)
        product = self.weight.mm(x.t().contiguous()).t().contiguous()
        return product if self.bias is None else product.add_(self.bias)


@torch.inference_mode(False)
@torch.no_grad()
def joined(linears: Sequence[nn.Linear]) -> Matrix:
    """The linear layers of one input as one matrix; mutates them to be views of it.

    On a CPU, float32 weights that are long and large are stored as they are, all others input by
    output; elsewhere all as they are.  At most these layers' weights exist twice while it runs.
    """
    one, size = linears[0].weight, sum(linear.weight.numel() for linear in linears)
    on_cpu = one.device.type == "cpu"
    if not on_cpu and len(linears) == 1:
        return Matrix(one.data, linears[0].bias)
    is_wide = one.shape[1] >= _LONG and size >= _LARGE
    by_columns = on_cpu and one.dtype == torch.float32 and is_wide
    if by_columns or not on_cpu:
        weight = torch.cat([linear.weight for linear in linears])
    else:
        weight = torch.cat([linear.weight.t() for linear in linears], dim=1).t()
    sizes = [linear.weight.shape[0] for linear in linears]
    for linear, part in zip(linears, torch.split(weight, sizes), strict=True):
        linear.weight.data = part
    bias = None
    if linears[0].bias is not None:
        bias = torch.cat([linear.bias for linear in linears])
        for linear, part in zip(linears, torch.split(bias, sizes), strict=True):
            linear.bias.data = part
    return Matrix(weight, bias, by_columns)
