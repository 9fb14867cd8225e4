"""The lean forward pass: equal to the model's own, refused where a model is not what it knows."""

import copy
from collections.abc import Callable, Sequence
from typing import Any
from unittest.mock import patch

import pytest
import torch
import transformers

from gac.core import Extend
from gac.model.lean_choice import choose_lean
from gac.model.loading import as_loaded
from gac.model.masks import mask_plan
from gac.model.runner import CacheUse, ModelRunner
from tests.support.lean_models import (
    CONFIGS,
    build,
)

Fresh = Callable[[Any, Sequence[int]], torch.Tensor]


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-5)], ids=["f32", "f64"]
)
@pytest.mark.parametrize("name", CONFIGS)
def test_lean_logits_equal_the_models_own(
    name: str, dtype: torch.dtype, tolerance: float, fresh: Fresh
) -> None:
    """Also in float64, where hardly anything is rounded: norms and the answer are float32."""
    model = build(name).to(dtype)
    oracle = copy.deepcopy(model)
    runner = ModelRunner(model, max_tokens=400, max_sequences=8, cache_use=CacheUse.BATCHED)
    assert runner._forward.is_lean
    texts = [[(7 * s + 3 * p + p * p) % 61 for p in range(40)] for s in range(4)]
    done = [0] * 4
    for sizes in (
        [3, 9, 1, 0],
        [1, 1, 1, 1],
        [5, 2, 9, 1],
        [1, 0, 0, 0],
        [8, 8, 8, 8],
        [20, 1, 1, 1],
    ):
        items, ends = [], []
        for s, size in enumerate(sizes):
            end = done[s] + size
            positions = tuple(range(done[s] + 1, end + 1))
            items.append(Extend(s, done[s], tuple(texts[s][done[s] : end]), positions))
            ends.append(end)
        for s, logits in enumerate(runner.extend(items)):
            expected = fresh(oracle, texts[s][: ends[s]])[done[s] :] if sizes[s] else logits
            torch.testing.assert_close(logits, expected, atol=tolerance, rtol=0.0)
        done = ends
    torch.testing.assert_close(fresh(model, texts[0]), fresh(oracle, texts[0]))


class Derived(transformers.LlamaForCausalLM):
    """A subclass: who knows what it does."""


def derive(model: Any) -> None:
    model.__class__ = Derived


ALTERED: dict[str, Callable[[Any], object]] = {
    "subclass": derive,
    "hook": lambda m: m.model.layers[1].mlp.register_forward_hook(lambda *_: None),
    "forward": lambda m: setattr(m.model.norm, "forward", lambda x: x),
    "activation": lambda m: setattr(m.model.layers[0].mlp, "act_fn", torch.nn.GELU()),
    "number format": lambda m: m.model.layers[0].mlp.down_proj.double(),
    "attention": lambda m: setattr(m.config, "_attn_implementation", "eager"),
}


@pytest.mark.parametrize("name", ALTERED)
def test_altered_model_is_left_to_its_modules(name: str) -> None:
    model = build("llama")
    loaded = as_loaded(model)
    ALTERED[name](model)
    plan = mask_plan(model.config, torch.float32)
    assert choose_lean(loaded, plan) is None
    assert all(weight.is_contiguous() for weight in model.parameters())


def test_model_that_only_looks_known_is_found_by_the_self_check(fresh: Fresh) -> None:
    model = build("llama")
    model.model.layers[1].self_attn.scaling *= 3.0
    with patch("gac.model.lean_timing.ratio_of", lambda *_: 0.5):
        runner = ModelRunner(model, max_tokens=40, max_sequences=2)
    assert not runner._forward.is_lean and runner.cache_use is CacheUse.BATCHED
    [logits] = runner.extend([Extend(0, 0, (1, 2, 3), (3,))])
    torch.testing.assert_close(logits, fresh(model, [1, 2, 3])[2:], atol=1e-4, rtol=0.0)


def test_weights_exist_once() -> None:
    model = build("qwen3-tied")
    before = sum(p.numel() for p in model.parameters())
    runner = ModelRunner(model, max_tokens=40, max_sequences=2, cache_use=CacheUse.BATCHED)
    stores = {p.untyped_storage().data_ptr(): p.untyped_storage() for p in model.parameters()}
    assert sum(store.nbytes() for store in stores.values()) == 4 * before
    assert runner._forward._lean is not None
    for layer in runner._forward._lean._layers:
        for matrix in (layer.queries, layer.values, layer.out, layer.gate, layer.down):
            assert matrix.weight.untyped_storage().data_ptr() in stores
