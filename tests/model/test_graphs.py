"""Graphs of small passes, recorded on tapes: the same logits, never from what is void."""

import copy
import inspect
import logging
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any
from unittest.mock import Mock, patch

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor

from gac.core import Extend
from gac.model import graphs as graphs_module
from gac.model.forward import Forward
from gac.model.graphs import CudaRecorder, Graphs, Recorder, recorder_for
from gac.model.loading import as_loaded
from gac.model.runner import CacheUse, ModelRunner
from tests.support.checked_runner import Checked
from tests.support.examples import examples
from tests.support.lean_models import build
from tests.support.tape import TapeRecorder

Fresh = Callable[[Any, Sequence[int]], torch.Tensor]
NAMES = (
    "llama-biases",
    "llama-yarn",
    "mistral-sliding",
    "qwen2-biases",
    "qwen2-half-sliding",
    "qwen3-tied",
)
LOGGER = "gac.model.graphs"


@cache
def recorded(name: str) -> tuple[Any, Forward, Graphs, TapeRecorder]:
    """A model whose small passes go through tapes, without a self-check."""
    loaded, recorder = as_loaded(build(name)), TapeRecorder()
    forward = Forward(loaded)
    graphs = forward.use_graphs(recorder)
    graphs.is_on = True
    return loaded, forward, graphs, recorder


@contextmanager
def recorders(recorder: Recorder) -> Iterator[None]:
    """Have runners find this recorder for their device."""
    with patch("gac.model.runner.recorder_for", lambda device: recorder):
        yield


def graphs_of(runner: ModelRunner) -> Graphs:
    assert isinstance(runner._forward._lean, Graphs)
    return runner._forward._lean


def run_program(checked: Checked, draw: random.Random) -> None:
    """Batches whose shapes come again while lengths, ids and rows change."""
    for _ in range(6):
        batch = draw.sample(range(5), draw.choice([1, 2, 3, 3, 5]))
        size = draw.choice([1, 1, 1, 2, 3, 4, 7, 10])
        for _ in range(draw.randint(1, 5)):
            items = []
            for sequence in batch:
                known = len(checked.ids.get(sequence, []))
                count = draw.randint(1, size) if draw.random() < 0.5 else size
                kept = max(0, known - draw.choice([0, 0, 0, 0, 1, 5]))
                kept = kept if kept + count <= 40 else draw.randrange(20)
                ids = tuple(draw.randrange(61) for _ in range(count))
                end = kept + count
                positions = draw.choice([(), (end,), tuple(range(kept + 1, end + 1))])
                items.append(Extend(sequence, kept, ids, positions))
            checked.extend(items)
        if draw.random() < 0.3:
            checked.release(draw.randrange(5))


@pytest.mark.parametrize("name", NAMES)
def test_any_program_gives_the_logits_of_a_fresh_forward(name: str, fresh: Fresh) -> None:
    loaded, forward, graphs, recorder = recorded(name)

    @examples(10)
    @example(seed=0, step=16, max_shapes=64, max_tokens=400, max_sequences=8)
    @given(
        seed=st.integers(0, 2**32),
        max_tokens=st.sampled_from([200, 400]),
        max_sequences=st.sampled_from([5, 8]),
        step=st.sampled_from([16, 256]),
        max_shapes=st.sampled_from([2, 64]),
    )
    def check(seed: int, step: int, max_shapes: int, **bounds: int) -> None:
        with patch.multiple(graphs_module, _STEP=step, _MAX_SHAPES=max_shapes, MEETINGS=2):
            use: dict[str, Any] = {"forward": forward, "cache_use": CacheUse.BATCHED}
            run_program(Checked(loaded.model, fresh, **bounds, **use), random.Random(seed))
        assert graphs.is_on

    check()
    assert recorder.num_replays == graphs.num_replayed > graphs.num_recorded > 0


def run_same(runner: ModelRunner, start: int, count: int, size: int = 1) -> list[Tensor]:
    """Sequences 0 and 1 grow `count` times by `size` ids; gives what was found."""
    found = []
    for kept in range(start, start + count * size, size):
        ids = tuple((7 * kept + i) % 61 for i in range(size))
        last = (kept + size,)
        found += runner.extend([Extend(s, kept, ids, last) for s in (0, 1)])
    return found


def switched_on(name: str = "llama") -> tuple[ModelRunner, TapeRecorder]:
    recorder = TapeRecorder()
    with recorders(recorder):
        runner = ModelRunner(build(name), max_tokens=400, max_sequences=8, cuda_graphs=True)
    return runner, recorder


@pytest.mark.parametrize("name", NAMES)
def test_self_check_switches_graphs_on(name: str, caplog: pytest.LogCaptureFixture) -> None:
    runner, recorder = switched_on(name)
    graphs = graphs_of(runner)
    assert graphs.is_on and not caplog.records
    # Each of four shapes before and after the cache was rebuilt, three times.
    assert graphs.num_recorded == 8 and recorder.num_replays == 24
    assert not recorder.results(), "the check's graphs are kept"


def test_shapes_are_recorded_when_they_come_again_and_wide_passes_are_not() -> None:
    runner, recorder = switched_on()
    graphs = graphs_of(runner)
    recorder.num_replays, graphs.num_recorded = 0, 0
    run_same(runner, 0, 1)  # allocates
    run_same(runner, 1, 2)
    assert graphs.num_recorded == 0
    run_same(runner, 3, 4)
    assert (graphs.num_recorded, recorder.num_replays) == (1, 4)
    run_same(runner, 7, 4, size=9)
    assert (graphs.num_recorded, recorder.num_replays) == (1, 4)


def test_a_cache_that_was_rebuilt_is_met_anew() -> None:
    runner, recorder = switched_on()
    plain = ModelRunner(build("llama"), max_tokens=400, max_sequences=8, cache_use=CacheUse.BATCHED)
    run_same(runner, 0, 6)
    before, replays = runner._rows.cache.stamp, recorder.num_replays
    for one in (runner, plain):  # one row more than there are
        one.extend([Extend(2, 0, (1, 2), ())])
        one.extend([Extend(3, 0, (1, 2), ())])
    run_same(plain, 0, 6)
    assert runner._rows.cache.stamp is not before
    found, expected = run_same(runner, 6, 2), run_same(plain, 6, 2)
    assert recorder.num_replays == replays
    found, expected = found + run_same(runner, 8, 4), expected + run_same(plain, 8, 4)
    assert recorder.num_replays > replays
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0.0)


def test_a_stale_graph_is_noticed_by_the_tape() -> None:
    """The tests above would be worth nothing if tapes kept what they read alive."""
    runner, _ = switched_on()
    run_same(runner, 0, 6)
    held = runner._rows.cache
    stamp = held.stamp
    held.rebuild(held.rows, held.length, range(held.rows), held.length)
    held.stamp = stamp
    with pytest.raises(AssertionError, match="a graph reads what was freed"):
        run_same(runner, 6, 1)


def test_a_failed_recording_is_replaced_for_that_very_batch(
    caplog: pytest.LogCaptureFixture,
) -> None:
    runner, recorder = switched_on()
    plain = ModelRunner(build("llama"), max_tokens=400, max_sequences=8, cache_use=CacheUse.BATCHED)
    refused = patch.object(recorder, "record", side_effect=torch.OutOfMemoryError("full"))
    with refused as record, caplog.at_level(logging.WARNING, LOGGER):
        found = run_same(runner, 0, 12)
    torch.testing.assert_close(found, run_same(plain, 0, 12), atol=1e-4, rtol=0.0)
    assert record.call_count == 1 and not graphs_of(runner).is_on
    [line] = caplog.records
    assert "model runs without graphs from now on: one failed with OutOfMemory" in line.message


class Wrong(TapeRecorder):
    """Graphs that are right when they are recorded, and repeat themselves ever after."""

    def record(self, region: Callable[[], Tensor]) -> Callable[[], Tensor]:
        replay, found = super().record(region), list[Tensor]()

        def repeat() -> Tensor:
            found[:] = found or [replay().clone()]
            return found[0]

        return repeat


class Failing(TapeRecorder):
    def record(self, region: Callable[[], Tensor]) -> Callable[[], Tensor]:
        raise RuntimeError("not permitted")


@pytest.mark.parametrize(
    ("recorder", "reason"), [(Wrong(), "with them it differs by"), (Failing(), "not permitted")]
)
def test_self_check_refuses_graphs(
    recorder: TapeRecorder, reason: str, fresh: Fresh, caplog: pytest.LogCaptureFixture
) -> None:
    model = build("qwen3")
    with recorders(recorder), caplog.at_level(logging.WARNING):
        runner = ModelRunner(model, max_tokens=400, max_sequences=8, cuda_graphs=True)
    [line] = caplog.records
    assert reason in line.message
    replays = recorder.num_replays
    logits = run_same(runner, 0, 12)[-1]
    assert recorder.num_replays == replays and not graphs_of(runner).is_on
    ids = [7 * kept % 61 for kept in range(12)]
    torch.testing.assert_close(logits, fresh(model, ids)[11:], atol=1e-4, rtol=0.0)


def test_a_check_that_cannot_run_leaves_graphs_off(caplog: pytest.LogCaptureFixture) -> None:
    full = patch("gac.model.graph_check._answers", side_effect=torch.OutOfMemoryError("full"))
    with full, caplog.at_level(logging.WARNING):
        runner, _ = switched_on()
    assert not graphs_of(runner).is_on
    [line] = caplog.records
    assert "they cannot be checked: OutOfMemoryError" in line.message


class Played:
    """A CUDA graph on a machine that has none."""

    def replay(self) -> None:
        pass


@pytest.mark.parametrize("failure", [None, RuntimeError("not permitted")])
def test_cuda_recorder_warms_up_records_and_comes_back(failure: Exception | None) -> None:
    """Torch's part is played: the order and the names of arguments are all that a CPU can tell."""
    streams: list[Any] = []
    seen, pools = [], []
    side, current = Mock(["wait_stream"]), Mock(["wait_stream"])
    taken = inspect.signature(torch.cuda.graph)

    @contextmanager
    def on(stream: Any) -> Iterator[None]:
        streams.append(stream)
        try:
            yield
        finally:
            streams.pop()

    @contextmanager
    def graph(*args: Any, **kwargs: Any) -> Iterator[None]:
        given = taken.bind(*args, **kwargs).arguments
        assert given["stream"] is side and isinstance(given["cuda_graph"], Played)
        pools.append(given["pool"])
        yield
        if failure:
            raise failure

    def region() -> Tensor:
        seen.append(tuple(streams))
        return torch.ones(1)

    parts = {
        "Stream": lambda device: side,
        "current_stream": lambda device: current,
        "stream": on,
        "graph_pool_handle": Mock(side_effect=[1, 2]),
        "CUDAGraph": Played,
        "graph": graph,
    }
    refused = pytest.raises(RuntimeError, match="not permitted") if failure else nullcontext()
    with patch.multiple(torch.cuda, **parts), refused:
        recorder = CudaRecorder(torch.device("cuda", 0))
        replays = [recorder.record(region)]
        assert seen == [(side,)] * 3 and replays[0]() is replays[0]()
        replays.append(recorder.record(region))
        replays.clear()
        recorder.record(region)
        assert pools == [1, 1, 2], "a pool whose graphs are gone is used again"
    assert not streams
    current.wait_stream.assert_called_with(side)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", NAMES)
def test_cuda_graphs_give_the_same_logits(name: str) -> None:
    bounds = {"max_tokens": 400, "max_sequences": 8}
    runner = ModelRunner(build(name).cuda(), **bounds, cuda_graphs=True)
    plain = ModelRunner(build(name).cuda(), **bounds, cache_use=CacheUse.BATCHED)
    replayed = graphs_of(runner).num_replayed
    found, expected = run_same(runner, 0, 12), run_same(plain, 0, 12)
    assert graphs_of(runner).is_on and graphs_of(runner).num_replayed > replayed
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)


def test_graphs_that_cannot_be_used_are_warned_of(
    tiny: Callable[[str], Any], caplog: pytest.LogCaptureFixture
) -> None:
    bounds = {"max_tokens": 100, "max_sequences": 2}
    assert recorder_for(torch.device("cpu")) is None
    runner = ModelRunner(build("llama"), **bounds, cuda_graphs=True)
    assert not isinstance(runner._forward._lean, Graphs)
    assert "runs without CUDA graphs: it runs on cpu" in caplog.text
    caplog.clear()
    with recorders(TapeRecorder()):
        runner = ModelRunner(copy.deepcopy(tiny("gpt2")), **bounds, cuda_graphs=True)
    assert not runner._forward.is_lean
    assert "runs without CUDA graphs: they need the lean forward pass" in caplog.text


def test_graphs_are_off_unless_they_are_wanted() -> None:
    with recorders(TapeRecorder()):
        runner = ModelRunner(build("llama"), max_tokens=100, max_sequences=2)
    assert not isinstance(runner._forward._lean, Graphs)
