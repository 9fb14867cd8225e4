"""Which code computes forward passes: the lean code only where it was faster when timed."""

import logging

import pytest
import torch

from gac.core import Extend
from gac.model import lean_timing
from gac.model.runner import CacheUse, ModelRunner
from tests.support.lean_models import build


class Machine:
    """A clock that steps move on, by seconds that depend on the code and the batch size."""

    def __init__(self, lean_s: float, modules_s: float) -> None:
        self.seconds = {True: lean_s, False: modules_s}
        self.is_lean = False
        self.now = 0.0
        self.num_steps = 0

    def use_lean(self, is_lean: bool) -> None:
        self.is_lean = is_lean

    def step(self, size: int) -> None:
        self.num_steps += 1
        self.now += self.seconds[self.is_lean] * size

    def ratio(self) -> float | None:
        return lean_timing.ratio_of(self.use_lean, self.step, lambda: self.now)


def test_ratio_is_that_of_the_medians() -> None:
    assert Machine(0.003, 0.004).ratio() == pytest.approx(0.75)
    noisy = Machine(0.003, 0.004)
    plain = noisy.step

    def step(size: int) -> None:
        plain(size)
        noisy.now += 0.1 if noisy.num_steps == 9 else 0.0

    noisy.step = step  # type: ignore[method-assign]
    assert noisy.ratio() == pytest.approx(0.75)


def test_long_steps_are_hardly_timed() -> None:
    machine = Machine(0.1, 0.3)
    assert machine.ratio() is None
    assert machine.num_steps == 4
    short, longer = Machine(0.001, 0.001), Machine(0.1, 0.1)
    assert short.ratio() is not None and longer.ratio() is not None
    assert longer.num_steps < short.num_steps


@pytest.mark.parametrize(
    ("ratio", "is_lean", "said"),
    [
        (0.9, True, "use gac's own code (gac's own code takes 0.90 of the time of"),
        (0.96, False, "use transformers' modules (gac's own code takes 0.96 of the"),
        (None, False, "use transformers' modules (a step takes so long"),
    ],
)
def test_lean_code_is_used_only_where_it_is_faster(
    ratio: float | None,
    is_lean: bool,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(lean_timing, "ratio_of", lambda *_: ratio)
    with caplog.at_level(logging.INFO, "gac.model.lean_timing"):
        runner = ModelRunner(build("llama"), max_tokens=40, max_sequences=2)
    assert runner._forward.is_lean == is_lean
    assert runner.cache_use is CacheUse.BATCHED
    assert said in caplog.text


def test_both_codes_are_really_timed_and_give_the_same_logits() -> None:
    seen = set()
    runner = ModelRunner(build("qwen3"), max_tokens=99, max_sequences=4, cache_use=CacheUse.BATCHED)
    forward, plain = runner._forward, runner._forward.cached

    def cached(*arguments: object) -> torch.Tensor:
        seen.add(forward.is_lean)
        return plain(*arguments)  # type: ignore[arg-type]

    forward.cached = cached  # type: ignore[method-assign, assignment]
    lean_timing.use_lean_if_faster(runner._loaded, forward, runner)
    assert seen == {True, False}
    found = []
    for is_lean in (True, False):
        forward.use_lean(is_lean)
        [logits] = runner.extend([Extend(9, 0, (1, 2, 3), (3,))])
        runner.release([9])
        found.append(logits)
    torch.testing.assert_close(*found, atol=2e-5, rtol=1e-5)
