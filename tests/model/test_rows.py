"""Rows of the cache: contents follow their sequence, and bounds hold."""

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gac.model.kv_cache import Aim
from gac.model.rows import Rows
from tests.support.examples import examples


def fill(rows: Rows, batch: list[int], lengths: dict[int, int], written: dict[int, int]) -> None:
    """Write what a pass would: at each new slot of a sequence the number sequence * 100 + slot."""
    first = rows.arrange(batch)
    order = sorted(batch, key=rows.row_of)
    assert [rows.row_of(s) for s in order] == list(range(first, first + len(batch)))
    starts = [written.get(s, 0) for s in order]
    stops = [lengths[s] for s in order]
    width = max(stop - start for start, stop in zip(starts, stops, strict=True))
    states = torch.full((len(order), 2, width, 3), -1.0)
    for b, sequence in enumerate(order):
        for t in range(stops[b] - starts[b]):
            states[b, :, t] = sequence * 100 + starts[b] + t
    rows.cache.aim(Aim(first, starts, stops, max(stops)))
    for layer in range(2):
        keys, values = rows.cache.update(states, -states, layer)
        for b, sequence in enumerate(order):
            expected = torch.arange(stops[b]) + 100.0 * sequence
            assert torch.equal(keys[b, 1, : stops[b], 2], expected)
            assert torch.equal(values[b, 0, : stops[b], 0], -expected)
    written.update({s: lengths[s] for s in batch})


@examples(60)
@given(
    seed=st.integers(0, 2**32),
    max_tokens=st.sampled_from([30, 90, 300]),
    max_rows=st.sampled_from([1, 4, 7]),
)
def test_contents_follow_their_sequences(seed: int, max_tokens: int, max_rows: int) -> None:
    draw = random.Random(seed)
    rows, written = Rows(max_tokens, max_rows, 60), dict[int, int]()
    for _ in range(12):
        batch = draw.sample(range(9), draw.randint(1, min(9, max_rows)))
        for sequence in batch:
            if sequence in rows and draw.random() < 0.3:
                written[sequence] = draw.randint(0, written[sequence])
        lengths = {s: written.get(s, 0) + draw.choice([1, 1, 2, 9]) for s in batch}
        if not rows.fits(len(batch), max(lengths.values())):
            continue
        for sequence in rows.reserve(lengths):
            del written[sequence]
        fill(rows, batch, lengths, written)
        assert rows.cache.rows <= max_rows
        assert rows.cache.rows * rows.cache.length <= max_tokens
        if draw.random() < 0.3:
            gone = draw.randrange(9)
            rows.release(gone)
            written.pop(gone, None)


def test_least_recently_used_is_evicted_first() -> None:
    rows = Rows(max_tokens=100, max_rows=3, max_length=50)
    for sequence in (0, 1, 2, 0):
        rows.reserve({sequence: 4})
        rows.arrange([sequence])
    assert rows.reserve({3: 4}) == [1]
    assert rows.reserve({0: 40, 3: 5}) == [2]


def test_shape_grows_by_doubling() -> None:
    rows, shapes = Rows(max_tokens=10_000, max_rows=16, max_length=600), []
    for length in range(1, 400):
        rows.reserve({0: length})
        rows.arrange([0])
        shapes.append((rows.cache.rows, rows.cache.length))
    assert sorted(set(shapes)) == [(1, 64), (1, 128), (1, 256), (1, 512)]


def test_reset_frees_everything() -> None:
    rows = Rows(max_tokens=100, max_rows=3, max_length=50)
    rows.reserve({0: 4})
    fill(rows, [0], {0: 4}, {})
    rows.reset()
    assert 0 not in rows and not list(rows.cache.tensors())
    with pytest.raises(KeyError):
        rows.row_of(0)
