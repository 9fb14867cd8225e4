"""What the engine counts, and when its events say that things happened."""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest

from gac.config import EveryStepConfig, StrategyConfig
from gac.core import Extend, FinishReason, GenerateRequest
from gac.decoding.strategies import StrategyMaker
from gac.decoding.threshold import ThresholdConfig
from gac.engine.limits import EngineLimits
from gac.engine.writer import write
from tests.support.collect import Running
from tests.support.fakes import FakeEnsemble, byte_level_definition, fake_ensemble, prompt_for


@pytest.fixture
def fakes() -> Iterator[FakeEnsemble]:
    made = fake_ensemble({"a": byte_level_definition(["th"]), "b": byte_level_definition(["he"])})
    yield made
    made.close()


def requests_of(fakes: FakeEnsemble, count: int, num_tokens: int = 12) -> list[GenerateRequest]:
    return [
        GenerateRequest(f"r-{n}", prompt_for(fakes, "the " * (n + 1)), num_tokens, ignore_eos=True)
        for n in range(count)
    ]


@pytest.mark.parametrize(
    "config", [EveryStepConfig(), ThresholdConfig(gate="a", threshold=0.02)], ids=lambda c: c.name
)
def test_counts_are_those_of_the_events(fakes: FakeEnsemble, config: StrategyConfig) -> None:
    with Running(fakes.ensemble, StrategyMaker(config)) as running:
        texts = write(running.engine, requests_of(fakes, 3))
        metrics = running.engine.metrics
    tokens = [token for text in texts for token in text.tokens]
    assert metrics.tokens == len(tokens) == 36
    assert metrics.ensembled == sum(len(token.asked) > 1 for token in tokens)
    assert metrics.ensembled == sum(text.finish.ensembled_tokens for text in texts)
    won = Counter(owner for token in tokens for owner in token.pick.owners)
    assert {name: spent.won for name, spent in metrics.members.items() if spent.won} == won


def test_times_are_in_the_order_of_what_happened(fakes: FakeEnsemble) -> None:
    before = time.monotonic()
    with Running(fakes.ensemble, StrategyMaker(EveryStepConfig())) as running:
        [text] = write(running.engine, requests_of(fakes, 1))
    admitted_at = text.finish.admitted_at
    assert admitted_at is not None
    times = [before, admitted_at, *(token.at for token in text.tokens), text.finish.at]
    assert times == sorted(times) and times[-1] <= time.monotonic()


def test_what_waits_is_admitted_when_there_is_room(fakes: FakeEnsemble) -> None:
    limits = EngineLimits(max_sequences=1)
    with Running(fakes.ensemble, StrategyMaker(EveryStepConfig()), limits) as running:
        first, second = write(running.engine, requests_of(fakes, 2))
    assert second.finish.admitted_at is not None
    assert second.finish.admitted_at >= first.finish.at


@pytest.fixture
def held(fakes: FakeEnsemble) -> Iterator[FakeEnsemble]:
    """Members of which one does not answer before the test has ended."""
    gate = threading.Event()
    original = fakes.runners["a"].extend

    def extend(batch: Sequence[Extend]) -> list:
        gate.wait(20)
        return original(batch)

    fakes.runners["a"].extend = extend  # type: ignore[method-assign]
    yield fakes
    gate.set()


def test_what_never_ran_was_never_admitted(held: FakeEnsemble) -> None:
    limits = EngineLimits(max_sequences=1)
    with Running(held.ensemble, StrategyMaker(EveryStepConfig()), limits) as running:
        _, waiting = running.submit(requests_of(held, 2))
        running.engine.abort("r-1")
        assert waiting.done.wait(20)
    assert waiting.finish.reason is FinishReason.ABORT
    assert waiting.finish.admitted_at is None


def test_cache_usage_is_what_running_sequences_take(held: FakeEnsemble) -> None:
    requests = requests_of(held, 3)
    with Running(held.ensemble, StrategyMaker(EveryStepConfig())) as running:
        assert running.engine.cache_usage("a") == 0.0
        running.submit(requests)
        while running.engine.num_running < 3:
            time.sleep(0.001)
        longest = max(len(request.prompts["a"].ids) for request in requests)
        capacity = held.ensemble.members["a"].facts.max_kv_tokens
        assert running.engine.cache_usage("a") == pytest.approx(3 * longest / capacity)
