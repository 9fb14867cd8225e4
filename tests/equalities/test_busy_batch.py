"""A neighbour changes nothing: on real models, whose cache and batches round differently."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache

import pytest
import torch

from gac.config import EveryStepConfig, StrategyConfig, ThresholdConfig
from gac.core import Extend, FinishReason, GenerateRequest, Sampling
from gac.decoding.strategies import StrategyMaker
from gac.engine.limits import EngineLimits
from tests.support.collect import Running, Written
from tests.support.fakes import (
    EagerSpeculation,
    HashRunner,
    byte_level_definition,
    fake_ensemble,
    prompt_for,
)
from tests.support.oracle import Oracle, check_text, tokens_of
from tests.support.real_members import DEMO, RealModel, real_ensemble, real_model

pytestmark = pytest.mark.slow

RANDOM_TRIO = ("llama", "gram-sliding", "gpt2")
TRIOS = [RANDOM_TRIO, *([DEMO] if len(DEMO) == 3 else [])]
STRATEGIES: dict[str, StrategyConfig] = {
    "every step": EveryStepConfig(),
    "gate": ThresholdConfig(gate="<first>", threshold=0.4),
}
TEXTS = ("the cat", "What is the capital of France?", "é 日本\n\n12 👍", "hello " * 12, "a")
CHUNKS = EngineLimits(max_sequences=5, max_batch_tokens=9)
LIMITS = {
    "roomy": (EngineLimits(), 40_000, None),
    "evictions": (EngineLimits(), 260, None),
    "chunks, evictions, few places": (CHUNKS, 260, None),
    "evictions, drafts": (EngineLimits(), 180, 3),
    "chunks, evictions, few places, drafts": (CHUNKS, 260, 5),
}
"""The engine's, the K/V slots, and how many tokens the last member drafts."""


def config_of(strategy: str, trio: tuple[str, ...]) -> StrategyConfig:
    config = STRATEGIES[strategy]
    if isinstance(config, ThresholdConfig):
        return config.model_copy(update={"gate": trio[0]})
    return config


def requests_of(models: dict[str, RealModel]) -> list[GenerateRequest]:
    """Sixteen requests that differ in all they can."""
    return [
        GenerateRequest(
            f"{'+'.join(models)}-{place}",
            {
                name: model.prompt(TEXTS[place % 5], place % 3 == 1)
                for name, model in models.items()
                if place != 9 or name != list(models)[1]
            },
            max_new_tokens=(3, 24, 11, 30)[place % 4],
            min_new_tokens=(0, 6)[place % 2],
            ignore_eos=place % 3 == 0,
            stop=("e", " c") if place % 8 == 6 else (),
            sampling=Sampling(
                temperature=(0.0, 0.0, 0.9)[place % 3], top_k=(0, 20)[place % 2], seed=place
            ),
        )
        for place in range(16)
    ]


@cache
def alone(trio: tuple[str, ...], strategy: str) -> list[Written]:
    """What each request writes when nobody else is there; each with an engine of its own."""
    models = {name: real_model(name) for name in trio}
    written = []
    for request in requests_of(models):
        with (
            real_ensemble(models) as ensemble,
            Running(ensemble, StrategyMaker(config_of(strategy, trio))) as running,
        ):
            written += running.write([request])
    return written


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("trio", TRIOS, ids="+".join)
def test_request_in_a_busy_batch_equals_the_request_alone(trio, strategy, limits) -> None:
    """Every fifth request is aborted while the others go on."""
    models = {name: real_model(name) for name in trio}
    config, requests = config_of(strategy, trio), requests_of(models)
    bounds, kv_tokens, max_tokens = LIMITS[limits]
    drafts = EagerSpeculation(trio[-1], max_tokens, trio) if max_tokens else None
    with real_ensemble(models, max_kv_tokens=kv_tokens, row_size=3) as ensemble:
        with Running(ensemble, StrategyMaker(config), bounds, drafts) as running:
            written = running.submit(requests)
            for request in requests[::5]:
                running.engine.abort(request.request_id)
            for one in written:
                assert one.done.wait(60), "the engine hangs"
            if trio == RANDOM_TRIO and limits.startswith("evictions"):
                assert running.engine.metrics.evictions > 0
        assert drafts is None or strategy == "gate" or drafts.num_drafted > 10
        oracle = Oracle(ensemble, models, config)
        for request, one, expected in zip(requests, written, alone(trio, strategy), strict=True):
            compare(oracle, request, one, expected)


def compare(oracle: Oracle, request: GenerateRequest, one: Written, expected: Written) -> None:
    if one.finish.reason is FinishReason.ABORT:
        assert one.token_bytes == expected.token_bytes[: len(one.token_bytes)]
        return
    if not oracle.require_same(request, tokens_of(one), tokens_of(expected)):
        return
    assert (one.text, one.finish.reason) == (expected.text, expected.finish.reason)
    assert one.finish.ensembled_tokens == expected.finish.ensembled_tokens
    if not request.stop:
        check_text(one)


def test_requests_alone_are_no_copies_of_each_other() -> None:
    """Guards the test above: texts differ, some end, some do not."""
    written = alone(RANDOM_TRIO, "every step")
    assert len({one.text for one in written}) >= 12
    assert {one.finish.reason for one in written} == {FinishReason.STOP, FinishReason.LENGTH}


class HeldRunner:
    """A runner whose call number `at` waits until it is let go."""

    def __init__(self, inner: HashRunner, at: int) -> None:
        self._inner, self._left = inner, at
        self.go_on = threading.Event()

    def extend(self, batch: Sequence[Extend]) -> list[torch.Tensor]:
        self._left -= 1
        if self._left == 0:
            assert self.go_on.wait(30)
        return self._inner.extend(batch)

    def release(self, sequences: Iterable[int]) -> None:
        self._inner.release(sequences)


def until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < limit, "the engine hangs"
        time.sleep(0.001)


def test_answer_that_comes_while_its_sequence_is_evicted_is_not_forgotten() -> None:
    """The young one waits for `slow` while the old one grows, evicts it, and ends.

    Once it is let in again all its rows are there: nobody is asked, so no answer wakes the engine.
    """
    definition = byte_level_definition([" the"])
    fakes = fake_ensemble({"fast": definition, "slow": definition}, max_kv_tokens=24)
    fast, slow = HeldRunner(fakes.runners["fast"], 18), HeldRunner(fakes.runners["slow"], 1)
    for name, runner in (("fast", fast), ("slow", slow)):
        fakes.ensemble.members[name]._host._runner = runner
    prompts = prompt_for(fakes, "a")
    old = GenerateRequest("old", {"fast": prompts["fast"]}, 20, ignore_eos=True)
    young = GenerateRequest("young", prompts, 3, ignore_eos=True)
    with Running(fakes.ensemble, StrategyMaker(EveryStepConfig())) as running:
        engine = running.engine
        written = running.submit([old, young])
        until(lambda: engine.metrics.evictions == 1)
        slow.go_on.set()
        fakes.ensemble.members["slow"].extend([]).result()  # the answer is in the engine's inbox
        [marker] = running.submit([replace(old, request_id="marker")])
        engine.abort("marker")
        assert marker.done.wait(30)  # and has been taken out of it
        fast.go_on.set()
        for one in written:
            assert one.done.wait(5), "the engine hangs"
    fakes.close()
    assert [one.finish.completion_tokens for one in written] == [20, 3]
