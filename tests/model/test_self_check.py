"""The self-check: a cache that a model cannot use exactly is not used."""

import copy
import logging
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from gac.core import Extend
from gac.model.runner import CacheUse, ModelRunner

Tiny = Callable[[str], Any]


def changed(model: Any, change: Callable[[dict[str, Any]], object]) -> Any:
    """A copy of a model that treats its arguments differently."""
    other = copy.deepcopy(model)
    plain = other.forward

    def forward(input_ids: Any = None, position_ids: Any = None, **inputs: Any) -> Any:
        arguments = {"input_ids": input_ids, "position_ids": position_ids, **inputs}
        change(arguments)
        return plain(**arguments)

    other.forward = forward
    return other


def answers(model: Any) -> tuple[CacheUse, torch.Tensor]:
    runner = ModelRunner(model, max_tokens=100, max_sequences=3)
    runner.extend([Extend(0, 0, (1, 2, 3, 4), ()), Extend(1, 0, (5,), ())])
    return runner.cache_use, runner.extend([Extend(0, 3, (7, 8), (4, 5)), Extend(1, 1, (9,), ())])[
        0
    ]


def expected(fresh: Callable[[Any, Sequence[int]], torch.Tensor], model: Any) -> torch.Tensor:
    return fresh(model, [1, 2, 3, 7, 8])[3:]


def test_model_that_ignores_position_ids_runs_one_by_one(
    tiny: Tiny, fresh: Any, caplog: pytest.LogCaptureFixture
) -> None:
    model = changed(tiny("llama"), lambda inputs: inputs.update(position_ids=None))
    with caplog.at_level(logging.WARNING, "gac.model.self_check"):
        use, logits = answers(model)
    assert use is CacheUse.ONE_BY_ONE
    torch.testing.assert_close(logits, expected(fresh, tiny("llama")), atol=1e-4, rtol=0.0)
    [record] = caplog.records
    assert "one by one" in record.message


def test_model_that_ignores_its_mask_runs_one_by_one(tiny: Tiny, fresh: Any) -> None:
    model = changed(tiny("llama"), lambda inputs: inputs.update(attention_mask=None))
    use, logits = answers(model)
    assert use is CacheUse.ONE_BY_ONE
    torch.testing.assert_close(logits, expected(fresh, tiny("llama")), atol=1e-4, rtol=0.0)


def test_model_that_ignores_its_cache_is_computed_anew(
    tiny: Tiny, fresh: Any, caplog: pytest.LogCaptureFixture
) -> None:
    model = changed(tiny("llama"), lambda inputs: inputs.pop("past_key_values", None))
    with caplog.at_level(logging.WARNING, "gac.model.self_check"):
        use, logits = answers(model)
    assert use is CacheUse.NONE
    torch.testing.assert_close(logits, expected(fresh, tiny("llama")), atol=1e-4, rtol=0.0)
    [record] = caplog.records
    assert "computes every text anew" in record.message


def test_model_without_logits_to_keep_is_sliced(tiny: Tiny, fresh: Any) -> None:
    model = copy.deepcopy(tiny("qwen2"))
    plain = model.forward

    def forward(
        input_ids: Any,
        position_ids: Any = None,
        attention_mask: Any = None,
        past_key_values: Any = None,
        use_cache: bool = True,
    ) -> Any:
        return plain(
            input_ids=input_ids,
            position_ids=position_ids,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            use_cache=use_cache,
        )

    model.forward = forward
    use, logits = answers(model)
    assert use is CacheUse.BATCHED
    torch.testing.assert_close(logits, expected(fresh, tiny("qwen2")), atol=1e-4, rtol=0.0)
