"""Masks: what a position may see, per layer type."""

from collections.abc import Callable
from typing import Any

import torch
from transformers import LlamaConfig

from gac.model.masks import MaskPlan, mask_plan, rope_switch

Tiny = Callable[[str], Any]


def test_windows_are_read_from_the_config(tiny: Tiny) -> None:
    windows = {
        "llama": {"full_attention": None},
        "mistral-sliding": {"sliding_attention": 5},
        "qwen2": {"full_attention": None},
        "qwen2-half-sliding": {"full_attention": None, "sliding_attention": 4},
    }
    for name, expected in windows.items():
        plan = mask_plan(tiny(name).config, torch.float32)
        assert plan is not None and dict(plan.windows) == expected


def test_unknown_layer_types_get_no_plan(tiny: Tiny) -> None:
    assert mask_plan(tiny("gpt-neo").config, torch.float32) is None
    config = LlamaConfig()
    config.layer_types = ["chunked_attention"]
    assert mask_plan(config, torch.float32) is None


def test_a_window_hides_what_lies_before_it() -> None:
    plan = MaskPlan({"full_attention": None, "sliding_attention": 2}, False, torch.float32)
    masks = plan.build(torch.tensor([[2, 3], [0, 0]]), 4)
    assert isinstance(masks, dict)
    assert masks["full_attention"].int().tolist() == [
        [[[1, 1, 1, 0], [1, 1, 1, 1]]],
        [[[1, 0, 0, 0], [1, 0, 0, 0]]],
    ]
    assert masks["sliding_attention"][0, 0].int().tolist() == [[0, 1, 1, 0], [0, 0, 1, 1]]


def test_additive_mask_is_zero_or_the_least_number(tiny: Tiny) -> None:
    plan = mask_plan(tiny("gemma2").config, torch.bfloat16)
    assert plan is not None and plan.additive
    masks = plan.build(torch.tensor([[0]]), 2)
    assert isinstance(masks, dict)
    mask = masks["full_attention"]
    assert mask.dtype == torch.bfloat16
    assert mask.flatten().tolist() == [0.0, torch.finfo(torch.bfloat16).min]


def test_rope_switch_is_found(tiny: Tiny) -> None:
    assert rope_switch(tiny("phi3-longrope").config) == 12
    assert rope_switch(tiny("llama").config) is None
