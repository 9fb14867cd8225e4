"""Linear layers joined in one matrix: the same products in either layout, and the modules' own."""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import nn

from gac.model import matrices
from gac.model.matrices import joined
from tests.support.examples import examples

LONG, FIRST, END = matrices._LONG, matrices._COLUMN_ROWS.start, matrices._COLUMN_ROWS.stop
WIDE = matrices._LARGE // LONG
"""So many outputs are enough for rows to be laid out in columns."""


@examples(40)
@given(
    num_inputs=st.sampled_from([8, LONG - 1, LONG]),
    sizes=st.lists(st.sampled_from([1, 5, WIDE]), min_size=1, max_size=3),
    rows=st.integers(0, END),
    bias=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
)
@example(LONG, [WIDE, 3], FIRST, True, torch.float32)
@example(LONG, [WIDE, 3], FIRST - 1, False, torch.float32)
@example(LONG, [WIDE], END, True, torch.float32)
@example(LONG, [5, 3], FIRST, True, torch.float32)
@example(8, [WIDE, 3], FIRST, True, torch.float32)
def test_product_is_that_of_every_layer(num_inputs, sizes, rows, bias, dtype) -> None:
    torch.manual_seed(sum(sizes))
    linears = [nn.Linear(num_inputs, size, bias, dtype=dtype) for size in sizes]
    x = torch.randn(rows, num_inputs, dtype=dtype)
    with torch.inference_mode():
        expected = torch.cat([linear(x) for linear in linears], dim=1)
        matrix = joined(linears)
        product = matrix(x)
        again = torch.cat([linear(x) for linear in linears], dim=1)
    close = {"atol": 1e-4, "rtol": 1e-5} if dtype == torch.float32 else {"atol": 0.02, "rtol": 0.02}
    torch.testing.assert_close(product, expected, **close)
    torch.testing.assert_close(again, expected, **close)
    assert product.is_contiguous()


@pytest.mark.parametrize(("num_inputs", "by_columns"), [(8, False), (LONG, True)])
def test_parameters_are_views_of_the_matrix(num_inputs: int, by_columns: bool) -> None:
    linears = [nn.Linear(num_inputs, size) for size in (3, WIDE)]
    matrix = joined(linears)
    store = matrix.weight.untyped_storage().data_ptr()
    assert all(linear.weight.untyped_storage().data_ptr() == store for linear in linears)
    assert matrix.by_columns == by_columns
    assert torch.equal(matrix.weight, torch.cat([linear.weight for linear in linears]))
