"""Shared beginnings: exact against fresh forwards, fewer ids computed, bounds as before."""

import random
import time
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gac.core import Extend
from gac.model import runner as runner_module
from gac.model.prefixes import SHORTEST, common_length
from gac.model.runner import CacheUse, ModelRunner
from tests.support.checked_runner import FAMILIES, PROFILE, Checked, Fresh, Tiny, held_slots
from tests.support.examples import examples

PROMPT = tuple((7 * n) % 60 for n in range(40))


@contextmanager
def counted(runner: ModelRunner) -> Iterator[list[list[int]]]:
    """Collects how many ids each row computes, pass by pass."""
    passes: list[list[int]] = []
    plain = runner._forward.cached

    def cached(cache: Any, first: int, chunks: Sequence[Any]) -> torch.Tensor:
        passes.append([len(chunk.ids) for chunk in chunks])
        return plain(cache, first, chunks)

    with patch.object(runner._forward, "cached", cached):
        yield passes


def start(sequence: int, *tail: int, prompt: Sequence[int] = PROMPT) -> Extend:
    ids = (*prompt, *tail)
    return Extend(sequence, 0, ids, (len(ids),))


def shared_item(draw: random.Random, sequence: int, known: Sequence[int]) -> Extend:
    """Like a server's traffic: few beginnings, ids that go on, tails that are replaced."""
    if not known or draw.random() < 0.3:
        factor, length = draw.choice([3, 5]), draw.choice([17, 20, 34])
        beginning = [factor * n % 61 for n in range(length)]
        ids = [*beginning, *(draw.randrange(61) for _ in range(draw.choice([0, 0, 1, 5])))]
        kept = 0
    else:
        most = min(len(known), 44)
        kept = draw.randint(max(0, most - 2), most)
        ids = [*known[:kept], *(draw.randrange(61) for _ in range(draw.choice([1, 1, 2, 17])))]
    count = draw.choice([0, 1, 1, 2])
    last = [len(ids)] * (count > 0)
    positions = last + [draw.randint(1, len(ids)) for _ in range(count - 1)]
    return Extend(sequence, kept, tuple(ids[kept:]), tuple(positions))


@pytest.mark.parametrize(
    "name", ["llama", "mistral-sliding", "phi3-longrope", "gpt2", "gpt-neo", "mamba"]
)
@examples(12)
@given(
    seed=st.integers(0, 2**32),
    max_tokens=st.sampled_from([80, 200, 500]),
    max_sequences=st.sampled_from([1, 3, 8]),
    chunk=st.sampled_from([3, 19, 512]),
)
def test_shared_beginnings_equal_fresh_forward(
    name: str, tiny: Tiny, fresh: Fresh, seed: int, max_tokens: int, max_sequences: int, chunk: int
) -> None:
    bounds = {"max_tokens": max_tokens, "max_sequences": max_sequences}
    checked = Checked(tiny(name), fresh, **bounds, cache_use=FAMILIES[name])
    draw = random.Random(seed)
    with patch.object(runner_module, "_CHUNK", chunk):
        for _ in range(8):
            batch = draw.sample(range(6), draw.randint(1, 5))
            checked.extend([shared_item(draw, s, checked.ids.get(s, [])) for s in batch])
            assert held_slots(checked.runner) <= max_tokens
            assert checked.runner._rows.cache.rows <= max_sequences
            for sequence in draw.sample(range(6), 2):
                checked.release(sequence)
    if checked.runner.cache_use is CacheUse.NONE:
        assert not checked.runner.num_reused_ids


def test_programs_above_do_reuse(tiny: Tiny, fresh: Fresh) -> None:
    checked = Checked(tiny("llama"), fresh, max_tokens=500, max_sequences=8)
    draw = random.Random(0)
    for _ in range(8):
        for sequence in range(3):
            checked.extend([shared_item(draw, sequence, checked.ids.get(sequence, []))])
        checked.release(0)
    assert checked.runner.num_reused_ids > 100


@pytest.mark.parametrize("name", ["llama", "bloom"])
@pytest.mark.parametrize("is_released", [False, True])
def test_shared_prompt_is_computed_once(
    name: str, is_released: bool, tiny: Tiny, fresh: Fresh
) -> None:
    checked = Checked(tiny(name), fresh, max_tokens=600, max_sequences=8)
    checked.extend([start(0, 1, 2)])
    if is_released:
        checked.release(0)
    with counted(checked.runner) as passes:
        checked.extend([start(1, 3, 4, 5)])
        checked.extend([start(2, 3, 4, 5)])
    assert passes == [[3], [1]]
    assert checked.runner.num_reused_ids == 40 + 42


def test_without_a_cache_nothing_is_reused(tiny: Tiny, fresh: Fresh) -> None:
    checked = Checked(tiny("mamba"), fresh, max_tokens=600, max_sequences=8)
    checked.extend([start(0)])
    checked.extend([start(1)])
    checked.release(0)
    checked.extend([start(2)])
    assert checked.runner.num_reused_ids == 0


def test_requests_of_one_batch_wait_for_the_first(tiny: Tiny, fresh: Fresh) -> None:
    checked = Checked(tiny("llama"), fresh, max_tokens=600, max_sequences=8)
    with counted(checked.runner) as passes:
        checked.extend([start(s, s, s) for s in range(4)])
    assert passes == [[42], [2, 2, 2]]


def test_wanted_positions_are_computed(tiny: Tiny, fresh: Fresh) -> None:
    checked = Checked(tiny("llama"), fresh, max_tokens=600, max_sequences=8)
    checked.extend([start(0)])
    with counted(checked.runner) as passes:
        checked.extend([Extend(1, 0, PROMPT, (30, 40))])
        checked.extend([Extend(2, 0, PROMPT, ())])
        checked.extend([Extend(3, 0, PROMPT, (5,))])
    assert passes == [[11], [40]]


def test_prompt_told_in_parts_is_reused_in_parts(tiny: Tiny, fresh: Fresh) -> None:
    checked = Checked(tiny("llama"), fresh, max_tokens=600, max_sequences=8)
    checked.extend([start(0)])
    with counted(checked.runner) as passes:
        checked.extend([Extend(1, 0, PROMPT[:18], ())])
        checked.extend([Extend(1, 18, PROMPT[18:36], ())])
        checked.extend([Extend(1, 36, (*PROMPT[36:], 9), (41,))])
    assert passes == [[5]]


def test_donors_go_first_and_never_make_the_cache_grow(tiny: Tiny, fresh: Fresh) -> None:
    checked = Checked(tiny("llama"), fresh, max_tokens=600, max_sequences=8)
    for sequence in range(6):
        checked.extend([start(sequence, prompt=[(3 + sequence) * n % 61 for n in range(30)])])
        checked.release(sequence)
    assert held_slots(checked.runner) == 64
    checked.extend([start(s, prompt=[s + 1] * 20) for s in (6, 7)])
    assert checked.runner._prefixes._rows.num_retired == 0
    with counted(checked.runner) as passes:
        checked.extend([Extend(6, 20, (3,), (21,)), Extend(7, 20, (3,), (21,))])
    assert passes == [[1, 1]]


def test_donor_that_would_have_to_go_is_taken_over(tiny: Tiny, fresh: Fresh) -> None:
    checked = Checked(tiny("llama"), fresh, max_tokens=64, max_sequences=1)
    for sequence in range(3):
        with counted(checked.runner) as passes:
            checked.extend([start(7, sequence, sequence)])
        checked.release(7)
        assert passes == [[2 if sequence else 42]]


def test_donor_with_more_to_give_is_kept_and_another_one_goes(tiny: Tiny, fresh: Fresh) -> None:
    checked = Checked(tiny("llama"), fresh, max_tokens=400, max_sequences=3)
    other = [(5 * n) % 59 for n in range(20)]
    checked.extend([start(0), start(1, prompt=other), start(2, 8, prompt=other)])
    for sequence in range(3):
        checked.release(sequence)
    with counted(checked.runner) as passes:
        checked.extend([start(3, 1, prompt=PROMPT[:17])])
        checked.extend([start(4, 1)])
    assert passes == [[1], [1]]


def test_infinities_behind_a_shared_beginning_reach_nobody(tiny: Tiny, fresh: Fresh) -> None:
    checked = Checked(tiny("llama"), fresh, max_tokens=128, max_sequences=2)
    checked.extend([start(s, *range(9), prompt=PROMPT[s:]) for s in (0, 1)])
    told = checked.runner._sequences[0]
    for tensor in checked.runner._rows.cache.tensors():
        with torch.inference_mode():
            tensor[checked.runner._rows.row_of(told.holder), :, 38:49] = torch.inf
    checked.release(0)
    checked.extend([start(2, prompt=PROMPT[:38]), Extend(1, 48, (3, 4), (50,))])
    assert checked.runner.num_reused_ids == 37


def test_long_rows_are_no_donors_to_short_ones(tiny: Tiny, fresh: Fresh) -> None:
    checked = Checked(tiny("phi3-longrope"), fresh, max_tokens=600, max_sequences=8)
    checked.runner._switch = checked.runner._prefixes._switch = 30
    reused = []
    # The switch is moved, so that a short one is long enough to be worth a copy: no oracle here.
    for sequence, ids in enumerate((PROMPT, PROMPT[:20], (*PROMPT, 1), (*PROMPT[:20], 1))):
        checked.runner.extend([start(sequence, prompt=ids)])
        reused.append(checked.runner.num_reused_ids)
    assert reused == [0, 0, 40, 60]


@pytest.mark.parametrize("name", ["llama", "gpt-neo"])
def test_failed_batch_leaves_no_donor(name: str, tiny: Tiny, fresh: Fresh) -> None:
    checked = Checked(tiny(name), fresh, max_tokens=100, max_sequences=2)
    checked.extend([start(0), start(1, prompt=PROMPT[:9])])
    checked.release(0)
    forward = checked.runner._forward
    plain = forward.cached

    def half_done(*args: object) -> None:
        plain(*args)
        raise RuntimeError("no")

    with patch.object(forward, "cached", half_done), pytest.raises(RuntimeError, match="no"):
        checked.runner.extend([start(0, 5), Extend(1, 9, (7,), (10,))])
    before = checked.runner.num_reused_ids
    checked.extend([start(2, 6)])
    checked.extend([Extend(1, 9, (8,), (10,))])
    assert checked.runner.num_reused_ids == before


@PROFILE
@given(st.lists(st.integers(0, 1)), st.lists(st.integers(0, 1)), st.integers(0, 9))
def test_common_length_is_that_of_the_definition(
    one: list[int], other: list[int], at_most: int
) -> None:
    pairs = list(zip(one, other, strict=False))[:at_most]
    same = next((place for place, (a, b) in enumerate(pairs) if a != b), len(pairs))
    assert common_length(array("i", one), array("i", other), at_most) == same


def test_search_among_many_donors_is_quick(tiny: Tiny) -> None:
    runner = ModelRunner(tiny("llama"), max_tokens=64 * 64, max_sequences=64)
    runner.extend([start(s, s % 60, s // 60) for s in range(63)])
    long = [n % 61 for n in range(4000)]
    for place, told in enumerate(runner._sequences.values()):
        told.ids = array("i", [*long[: 1000 + 40 * place], 99, *long])
        told.computed = len(told.ids)
    item = start(99, prompt=long)
    with patch.object(type(runner._limits), "error_of", return_value=None):
        job = runner._tell(item)

    def one_by_one() -> int:
        """Id by id, as a loop would search."""
        lengths = []
        for told in runner._sequences.values():
            pairs = enumerate(zip(told.ids, long, strict=False))
            lengths.append(next((place for place, (own, other) in pairs if own != other), 0))
        return max(lengths)

    searched: list[float] = []
    looped: list[float] = []
    for _ in range(20):
        began = time.perf_counter()
        donor, common = runner._prefixes._donor(job)
        searched.append(time.perf_counter() - began)
        began = time.perf_counter()
        assert common == one_by_one()
        looped.append(time.perf_counter() - began)
    assert (donor, common) == (runner._sequences[62], 1000 + 40 * 62)
    assert min(searched) < min(looped) / 10  # about a hundredth


def test_shortest_reuse(tiny: Tiny) -> None:
    for length, reused in ((SHORTEST, 0), (SHORTEST + 1, SHORTEST)):
        runner = ModelRunner(tiny("llama"), max_tokens=600, max_sequences=8)
        runner.extend([start(0, prompt=PROMPT[:length])])
        runner.extend([start(1, prompt=PROMPT[:length])])
        assert runner.num_reused_ids == reused
