"""A matrix with a packed copy: the same products, and none where it does not belong."""

from dataclasses import replace

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from gac.model import packed
from gac.model.matrices import Matrix
from gac.model.packed import Packed, pack
from tests.support.examples import examples

SIZES = st.integers(1, 70)
needs_mkl = pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="torch has no MKL")


def draw(height: int, width: int) -> Matrix:
    torch.manual_seed(height * 100 + width)
    return Matrix(torch.randn(height, width).t(), None)


@needs_mkl
@examples(100)
@given(SIZES, SIZES, st.integers(0, 40))
@example(32, 61, 0)
@example(32, 61, 1)
@example(32, 61, 2)
@example(32, 61, 15)
@example(32, 61, 16)
@example(32, 61, 17)
def test_products_are_those_of_the_plain_matrix(height: int, width: int, rows: int) -> None:
    matrix = draw(height, width)
    both = pack(matrix)
    assert isinstance(both, Packed) and both.plain is matrix
    x = torch.randn(rows, height)
    expected = x.double() @ matrix.weight.t().double()
    torch.testing.assert_close(both(x), expected.float(), atol=1e-4, rtol=1e-5)


@needs_mkl
def test_a_row_does_not_depend_on_how_few_are_beside_it() -> None:
    both, x = pack(draw(64, 300)), torch.randn(16, 64)
    for rows in range(2, 17):
        assert torch.equal(both(x[:rows]), both(x)[:rows])


def test_large_biased_and_other_matrices_stay_single(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = draw(8, 5)
    for other in (
        replace(matrix, bias=torch.zeros(5)),
        replace(matrix, weight=matrix.weight.double()),
        replace(matrix, weight=matrix.weight.bfloat16()),
        replace(matrix, weight=matrix.weight.to("meta")),
    ):
        assert pack(other) is other
    monkeypatch.setattr(packed, "_LARGEST_BYTES", 4 * 8 * 5 - 1)
    assert pack(matrix) is matrix
