"""Every benchmark runs to its end and says what it found; nothing here is about speed."""

import json
import math
from pathlib import Path
from types import ModuleType

import pytest
import torch

from benchmarks import (
    divergence,
    memory_bench,
    runner_bench,
    scaling_bench,
    serve_bench,
    speculation_bench,
    step_bench,
)
from benchmarks.alone import Alone
from benchmarks.phases import Batch, slowest_of_each
from benchmarks.random_models import SHAPES, grow_llama, layers_for, make_random_llama
from benchmarks.rounds import alternate, percentile
from benchmarks.vocabularies import Vocabulary, make_tokenizer, pair_with_union, union_size
from gac.core import Pick, TokenEvent

IDS = list(range(300, 330))


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize(
    ("bench", "members"),
    [
        (step_bench, "ray"),
        (speculation_bench, "local"),
        (serve_bench, "local"),
        (scaling_bench, "local"),
        (memory_bench, "local"),
        (runner_bench, "local"),
    ],
    ids=["step", "speculation", "serve", "scaling", "memory", "runner"],
)
def test_a_quick_run_ends_with_a_line_of_json(
    bench: ModuleType, members: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = bench.main(["--quick", "--members", members, "--rounds", "1", "--out", str(tmp_path)])
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["benchmark"] == result["benchmark"]
    assert {"hardware", "models", "seeds", "rounds"} <= set(last["conditions"])
    assert last["ratios"]
    assert all(math.isfinite(ratio) and ratio > 0 for ratio in last["ratios"].values())
    assert [path.suffix for path in tmp_path.iterdir()] == [".png"]


@pytest.mark.slow
def test_divergence_is_counted_up_to_the_first_difference_and_float32_has_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def events(*tokens: bytes) -> list[TokenEvent]:
        return [TokenEvent("r", Pick(0, 0, ("a",)), ("a",), token, "") for token in tokens]

    ours, theirs = (
        [events(b"a", b"b"), events(b"a", b"b")],
        [events(b"a", b"b"), events(b"c", b"b")],
    )
    assert divergence.compare(ours, theirs) == divergence.Diverged(2, 3, 1, 0)
    divergence.main(["--quick"])
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    of_float32 = [one for one in last["lineups"] if one["dtype"] == "float32"]
    assert len(of_float32) == len(last["lineups"]) / 2 > 0
    assert all(one["per_1000"] == 0.0 for one in of_float32)
    assert all(one["acceptance"] > 0.0 for one in of_float32)


def test_a_grown_model_is_the_same_function(tmp_path: Path) -> None:
    base = make_random_llama(tmp_path / "base", SHAPES["tiny"], 1, Vocabulary(1000, 500))
    same = grow_llama(tmp_path / "same", base, layers=5, seed=2)
    noisy = grow_llama(tmp_path / "noisy", base, layers=5, seed=2, noise=0.05)
    expected, grown, other = (Alone(path).logits(IDS, 30) for path in (base, same, noisy))
    assert torch.equal(grown, expected)
    assert not torch.allclose(other, expected)


def test_layers_make_up_the_parameters_wanted() -> None:
    small, large = SHAPES["15m"], SHAPES["110m"].num_parameters(32_000)
    layers = layers_for(small, 32_000, large)
    missing = large - small.num_parameters(32_000)
    assert abs(missing - (layers - small.layers) * small.layer_parameters) < small.layer_parameters


def test_vocabularies_have_the_sizes_asked_for() -> None:
    for pair in (pair_with_union(3000), (Vocabulary(2000, 1500), Vocabulary(1000, 300, seed=4))):
        one, other = (set(make_tokenizer(vocabulary).get_vocab()) for vocabulary in pair)
        assert (len(one), len(other)) == (pair[0].size, pair[1].size)
        assert len(one | other) == union_size(*pair)


def test_rounds_alternate_and_the_first_does_not_count() -> None:
    seen: list[tuple[str, int]] = []

    def measure(name: str, place: int) -> int:
        seen.append((name, place))
        return place

    results = alternate({"a": lambda n: measure("a", n), "b": lambda n: measure("b", n)}, rounds=2)
    assert results == {"a": [1, 2], "b": [1, 2]}
    assert seen == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2), ("b", 2)]


def test_a_percentile_is_one_of_the_values() -> None:
    assert percentile([3.0, 1.0, 2.0], 50) == 2.0
    assert percentile([float(n) for n in range(1, 101)], 99) == 99.0
    assert percentile([5.0], 99) == 5.0
    assert math.isnan(percentile([], 50))


def test_slowest_batch_of_each_step_is_found_and_its_way_counted() -> None:
    first = [Batch(0.0, 1.0, 0.7, 0.1), Batch(0.0, 1.2, 0.9, 0.0)]
    second = [Batch(1.3, 2.0, 0.5, 0.1), Batch(1.35, 1.9, 0.2, 0.2)]
    slowest = slowest_of_each([*second, *first])
    assert slowest == [first[1], second[0]]
    assert [batch.transport_s for batch in slowest] == pytest.approx([0.3, 0.1])
