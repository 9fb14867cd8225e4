"""The runner against one oracle: a plain forward pass over the same ids."""

import copy
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gac.core import Extend
from gac.errors import MemberError
from gac.model import runner as runner_module
from gac.model.loading import ModelSpec, load_model
from gac.model.runner import CacheUse, ModelRunner, UnknownSequence
from tests.support.checked_runner import (
    FAMILIES,
    PROFILE,
    Checked,
    Fresh,
    Tiny,
    held_slots,
)


def random_item(draw: random.Random, sequence: int, known: Sequence[int], num_ids: int) -> Extend:
    """Append, replace the tail, shrink, repeat known ids, or catch up."""
    kept = len(known) - draw.choice([0, 0, 0, 1, 3, 20])
    kept = max(0, min(kept, len(known), 24))
    tail = [draw.randrange(num_ids) for _ in range(draw.choice([0, 1, 1, 1, 2, 5, 14]))]
    if draw.random() < 0.3:
        tail[:2] = known[kept : kept + 2]
    length = kept + len(tail)
    count = draw.choice([0, 1, 1, 1, 2, 3]) if length else 0
    last = [length] * (count > 0)
    positions = last + [draw.randint(1, length) for _ in range(count - 1)]
    draw.shuffle(positions)
    return Extend(sequence, kept, tuple(tail), tuple(positions))


def run_program(checked: Checked, seed: int, num_steps: int, max_tokens: int) -> None:
    draw = random.Random(seed)
    num_ids = checked.runner._loaded.num_ids
    for _ in range(num_steps):
        batch = draw.sample(range(6), draw.randint(1, 5))
        checked.extend([random_item(draw, s, checked.ids.get(s, []), num_ids) for s in batch])
        assert held_slots(checked.runner) <= max_tokens
        if draw.random() < 0.2:
            checked.release(draw.randrange(6))


@pytest.mark.parametrize("name", FAMILIES)
@PROFILE
@given(
    seed=st.integers(0, 2**32),
    max_tokens=st.sampled_from([40, 100, 400]),
    max_sequences=st.sampled_from([1, 3, 8]),
    chunk=st.sampled_from([3, 512]),
    padding=st.sampled_from([0, 4, 1000]),
)
def test_extend_equals_fresh_forward(
    name: str,
    tiny: Tiny,
    fresh: Fresh,
    seed: int,
    max_tokens: int,
    max_sequences: int,
    chunk: int,
    padding: int,
) -> None:
    with (
        patch.object(runner_module, "_CHUNK", chunk),
        patch.dict(runner_module._PADDING, {"cpu": padding}),
    ):
        bounds = {"max_tokens": max_tokens, "max_sequences": max_sequences}
        checked = Checked(tiny(name), fresh, **bounds, cache_use=FAMILIES[name])
        run_program(checked, seed, 6, max_tokens)


@pytest.mark.parametrize("name", FAMILIES)
def test_self_check_finds_the_best_exact_use(name: str, tiny: Tiny) -> None:
    runner = ModelRunner(tiny(name), max_tokens=100, max_sequences=2)
    assert runner.cache_use is FAMILIES[name]


@pytest.mark.parametrize("name", ["stories260K", "tinystories-instruct-3M-chat"])
def test_trained_model_equals_fresh_forward(
    name: str, shared_model: Callable[[str], Path], fresh: Fresh
) -> None:
    loaded = load_model(ModelSpec(str(shared_model(name))))
    checked = Checked(loaded.model, fresh, 2e-4, max_tokens=200, max_sequences=4)
    run_program(checked, 0, 12, 200)


def test_sequence_alone_equals_in_a_batch(tiny: Tiny) -> None:
    draw = random.Random(5)
    texts = [[draw.randrange(61) for _ in range(n)] for n in (3, 30, 11, 11, 1)]
    items = [Extend(i, 0, tuple(ids), (len(ids),)) for i, ids in enumerate(texts)]
    together = ModelRunner(tiny("llama"), max_tokens=400, max_sequences=8).extend(items)
    for item, logits in zip(items, together, strict=True):
        alone = ModelRunner(tiny("llama"), max_tokens=400, max_sequences=8)
        torch.testing.assert_close(logits, alone.extend([item])[0], atol=1e-5, rtol=0.0)


def test_equal_lengths_in_lockstep(tiny: Tiny, fresh: Fresh) -> None:
    for name in ("llama", "mistral-sliding", "qwen2-half-sliding"):
        checked = Checked(tiny(name), fresh, max_tokens=400, max_sequences=8)
        for length in range(0, 12, 2):
            tails = [(s + length, 3 * s + 1) for s in range(4)]
            positions = (length + 1, length + 2)
            checked.extend([Extend(s, length, tail, positions) for s, tail in enumerate(tails)])


def test_repeated_batch_moves_no_row(tiny: Tiny) -> None:
    runner = ModelRunner(tiny("llama"), max_tokens=400, max_sequences=8)
    for batch in ([0, 1, 2, 3], [4, 5], [5, 1, 3]):
        runner.extend([Extend(s, 0, (1, 2, 3), (3,)) for s in batch])
        cache = runner._rows.cache
        with patch.object(cache, "move") as move, patch.object(cache, "swap") as swap:
            for length in range(3, 9):
                runner.extend([Extend(s, length, (4,), (length + 1,)) for s in batch])
        assert not move.called and not swap.called


def test_common_prefix_is_not_computed_again(tiny: Tiny) -> None:
    runner = ModelRunner(tiny("llama"), max_tokens=400, max_sequences=8)
    runner.extend([Extend(0, 0, tuple(range(20)), (20,))])
    with patch.object(runner._forward, "cached", wraps=runner._forward.cached) as cached:
        runner.extend([Extend(0, 5, (*range(5, 19), 60), (20,))])
    [chunk] = cached.call_args.args[2]
    assert (chunk.start, list(chunk.ids)) == (19, [60])


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_head_is_computed_only_where_rows_are_wanted(name: str, tiny: Tiny) -> None:
    runner = ModelRunner(tiny(name), max_tokens=400, max_sequences=8, cache_use=CacheUse.BATCHED)
    lean = runner._forward._lean
    owner, head = (lean, "_head") if lean is not None else (tiny(name).lm_head, "forward")
    with patch.object(owner, head, wraps=getattr(owner, head)) as called:
        runner.extend([Extend(0, 0, tuple(range(20)), (20,)), Extend(1, 0, (1, 2, 3), (2, 3))])
        sizes = [call.args[0].shape[:-1].numel() for call in called.call_args_list]
    assert (lean is None) == (name == "gpt2")
    assert sum(sizes) == 3


def test_catch_up_answers_nothing(tiny: Tiny, fresh: Fresh) -> None:
    checked = Checked(tiny("gpt2"), fresh, max_tokens=100, max_sequences=2)
    checked.extend([Extend(0, 0, (1, 2, 3), ())])
    checked.extend([Extend(0, 3, (), ()), Extend(1, 0, (), ())])
    checked.extend([Extend(0, 3, (4,), (4, 1, 4))])


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (Extend(7, 0, (1,), (2,)), "positions .* outside 1 to 1"),
        (Extend(7, 0, (1,), (0,)), "positions .* outside 1 to 1"),
        (Extend(7, 0, (61,), (1,)), "token id lies outside 0 to 60"),
        (Extend(7, 0, (-1,), (1,)), "token id lies outside 0 to 60"),
        (Extend(7, 0, (1,) * 65, (1,)), "65 ids exceed the context length of 64"),
        (Extend(7, 0, (1,) * 41, (1,)), "41 ids exceed the cache of 40 tokens"),
    ],
)
def test_impossible_item_is_answered_by_an_error_beside_its_neighbours_rows(
    item: Extend, message: str, tiny: Tiny, fresh: Fresh
) -> None:
    checked = Checked(tiny("llama"), fresh, max_tokens=40, max_sequences=2)
    checked.extend([Extend(0, 0, (1, 2, 3), (3,))])
    neighbour = Extend(0, 1, (9,), (2,))
    logits, error = checked.runner.extend([neighbour, item])
    assert isinstance(error, MemberError) and re.search(message, error.message)
    torch.testing.assert_close(logits, fresh(tiny("llama"), [1, 9])[1:], atol=1e-4, rtol=0.0)
    checked.ids[0] = [1, 9]
    checked.extend([Extend(0, 2, (4,), (3,)), Extend(7, 0, (1, 2), (2,))])


def test_batch_that_names_a_sequence_twice_is_refused(tiny: Tiny) -> None:
    runner = ModelRunner(tiny("llama"), max_tokens=40, max_sequences=2)
    with pytest.raises(MemberError, match="names a sequence twice"):
        runner.extend([Extend(0, 0, (1,), (1,)), Extend(0, 1, (2,), (2,))])


def test_unknown_sequence_is_named(tiny: Tiny) -> None:
    runner = ModelRunner(tiny("llama"), max_tokens=40, max_sequences=2)
    [error] = runner.extend([Extend(3, 2, (1,), (3,))])
    assert isinstance(error, UnknownSequence)
    assert error.message == "sequence 3: 2 ids are to be kept, but 0 are known"
    runner.extend([Extend(3, 0, (1, 2), ())])
    runner.release([3, 99])
    [error] = runner.extend([Extend(3, 2, (1,), (3,))])
    assert isinstance(error, UnknownSequence)


@pytest.mark.parametrize("positions", [(9, 12, 13, 17), (17, 10), (14, 15), (4, 12)])
@pytest.mark.parametrize("told", [0, 6, 10, 14, 17])
def test_rows_on_both_sides_of_longropes_switch_are_those_of_their_ids(
    told: int, positions: tuple[int, ...], tiny: Tiny, fresh: Fresh
) -> None:
    """The switch is at 12; others of the batch stay before it, or are behind it already."""
    checked = Checked(tiny("phi3-longrope"), fresh, max_tokens=200, max_sequences=4)
    ids = tuple((7 * place) % 61 for place in range(17))
    checked.extend([Extend(0, 0, ids[:told], ()), Extend(1, 0, ids[:3], ()), Extend(2, 0, ids, ())])
    crossing = Extend(0, told, ids[told:], positions)
    checked.extend([Extend(1, 3, (5,), (4, 2)), crossing, Extend(2, 17, (5,), (18,))])
    checked.extend([Extend(0, 12, (3,), (13,)), Extend(1, 4, (5,), (5,))])
    checked.extend([Extend(0, 11, (), (11,))])


def test_batch_that_fails_behind_the_switch_has_told_nothing(tiny: Tiny, fresh: Fresh) -> None:
    checked = Checked(tiny("phi3-longrope"), fresh, max_tokens=200, max_sequences=4)
    checked.extend([Extend(0, 0, (1, 2, 3, 4), (4,))])
    forward, calls = checked.runner._forward, iter(range(9))
    plain = forward.cached

    def cached(*arguments: Any) -> torch.Tensor:
        if next(calls) == 1:
            raise RuntimeError("no")
        return plain(*arguments)

    crossing = Extend(0, 2, tuple(range(20, 35)), (3, 17))
    with patch.object(forward, "cached", cached), pytest.raises(RuntimeError, match="no"):
        checked.runner.extend([crossing])
    checked.extend([Extend(0, 4, (5,), (5, 4))])


@pytest.mark.parametrize("name", ["llama", "gpt2", "gpt-neo", "mamba"])
def test_failed_batch_has_told_nothing(name: str, tiny: Tiny, fresh: Fresh) -> None:
    checked = Checked(tiny(name), fresh, max_tokens=100, max_sequences=4)
    checked.extend([Extend(s, 0, (1, 2, 3, s), (4,)) for s in (0, 1, 2)])
    layer = next(m for m in reversed(list(tiny(name).modules())) if isinstance(m, torch.nn.Linear))
    batch = [Extend(0, 2, (7, 8, 9), (5,)), Extend(1, 4, (7,), (5,)), Extend(3, 0, (7,), (1,))]
    with (
        patch.object(layer, "forward", side_effect=RuntimeError("no")),
        patch("gac.model.lean_llama._attend", side_effect=RuntimeError("no")),
        pytest.raises(RuntimeError, match="no"),
    ):
        checked.runner.extend(batch)
    [error] = checked.runner.extend([Extend(3, 1, (), (1,))])
    assert isinstance(error, UnknownSequence)
    checked.extend([Extend(0, 4, (5,), (5, 4, 1)), Extend(1, 3, (5,), (4,)), Extend(2, 4, (), ())])
    checked.extend(batch)


@pytest.mark.parametrize("call", range(4))
def test_growth_that_fails_half_way_loses_nothing(call: int, tiny: Tiny, fresh: Fresh) -> None:
    checked = Checked(tiny("llama"), fresh, max_tokens=600, max_sequences=4)
    checked.extend([Extend(s, 0, (1, 2, 3, s), (4,)) for s in (0, 1, 2)])
    cache = checked.runner._rows.cache
    plain, calls = cache._allocate, iter(range(99))

    def allocate(like: torch.Tensor) -> torch.Tensor:
        if next(calls) == call:
            raise torch.OutOfMemoryError("full")
        return plain(like)

    grown = [Extend(s, 0, (5, 6), (2,)) for s in (4, 5)]
    with patch.object(cache, "_allocate", allocate), pytest.raises(torch.OutOfMemoryError):
        checked.runner.extend(grown)
    checked.extend([Extend(0, 4, (9,), (5,)), Extend(2, 4, (9, 8), (6,))])
    checked.extend(grown)


def test_infinities_of_a_released_sequence_reach_nobody(tiny: Tiny, fresh: Fresh) -> None:
    checked = Checked(tiny("llama"), fresh, max_tokens=100, max_sequences=4)
    checked.extend([Extend(s, 0, tuple(range(20)), (20,)) for s in (0, 1)])
    for tensor in checked.runner._rows.cache.tensors():
        with torch.inference_mode():
            tensor[checked.runner._rows.row_of(0), :, :20] = torch.inf
    checked.release(0)
    checked.extend([Extend(1, 20, (5,), (21,)), Extend(2, 0, (5, 6), (1, 2))])
    assert not torch.isinf(next(checked.runner._rows.cache.tensors())).any()


def test_half_precision_stays_within_its_tolerance(tiny: Tiny) -> None:
    model = copy.deepcopy(tiny("qwen2")).to(torch.bfloat16)
    runner = ModelRunner(model, max_tokens=200, max_sequences=4)
    assert runner.cache_use is CacheUse.BATCHED
    [logits, _] = runner.extend(
        [Extend(0, 0, tuple(range(9)), (9,)), Extend(1, 0, tuple(range(4)), (4,))]
    )
    expected = model(input_ids=torch.arange(9)[None]).logits[0, -1:].float()
    assert logits.dtype == torch.float32
    assert float((logits - expected).std() / expected.std()) < 0.05
