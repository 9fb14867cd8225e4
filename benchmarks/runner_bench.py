"""What the runner's forward pass costs next to transformers' own, on the same shapes.

Both compute the same new ids of as many sequences behind a cached context of 128 ids, and the
logits of every new id: the runner as a member uses it, and the model as `generate` calls it, with a
DynamicCache.  The context is the same for all sequences; the new ids differ.  They alternate.  What
is measured is the CPU time of the one thread that computes, so that other work on the machine
counts as little as possible.
"""

import random
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import DynamicCache

from benchmarks.alone import Alone
from benchmarks.plots import Plot
from benchmarks.random_models import COMMON, SHAPES, make_random_llama
from benchmarks.reporting import announce, finish, parse, parser, show_table
from benchmarks.rounds import alternate, medians
from gac.core import Extend
from gac.model.forward import Forward
from gac.model.loading import as_loaded
from gac.model.runner import ModelRunner
from gac.model.sequences import sound

CONTEXT = 128
BATCHES = (1, 2, 4, 8, 16, 32)
CHUNKS = (1, 2, 5, 9)
SIZES = ("15m", "110m", "360m")
LARGEST_RATIO = 1.15
"""What is accepted from `ACCEPTED_FROM` parameters on."""
ACCEPTED_FROM = 100_000_000
SEEDS = "model 1, ids by round"

Ids = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Shape:
    """Sequences of a pass, and the new ids of each."""

    batch: int
    chunk: int

    def __str__(self) -> str:
        return f"{self.batch} x {self.chunk}"

    def ids(self, place: int) -> list[list[int]]:
        """The new ids [batch, chunk] of a round."""
        return [_random_ids(f"{place} {row}", self.chunk) for row in range(self.batch)]


def _random_ids(seed: str, count: int) -> list[int]:
    draw = random.Random(seed)
    return [draw.randrange(COMMON.size) for _ in range(count)]


class ByRunner:
    """The runner, with sequences that were told their context."""

    def __init__(self, path: Path) -> None:
        most = max(BATCHES)
        max_tokens = most * (CONTEXT + max(CHUNKS))
        loaded = as_loaded(Alone(path).model, path.name)
        forward = Forward(loaded)
        self._runner = ModelRunner(
            loaded, max_tokens=max_tokens, max_sequences=most, forward=forward
        )
        self.is_lean = forward.is_lean

    def start(self, context: Sequence[int], batch: int) -> None:
        """Tell so many sequences the context; all but the first copy its keys and values."""
        self._runner.release(range(max(BATCHES)))
        sound(self._runner.extend([Extend(s, 0, tuple(context), ()) for s in range(batch)]))

    def seconds(self, new: Ids) -> float:
        """The time of a pass over new ids."""
        positions = tuple(range(CONTEXT + 1, CONTEXT + 1 + len(new[0])))
        started = time.thread_time()
        batch = [Extend(s, CONTEXT, tuple(ids), positions) for s, ids in enumerate(new)]
        sound(self._runner.extend(batch))
        return time.thread_time() - started


class ByTransformers:
    """The model's own forward pass, with a cache that holds the context."""

    def __init__(self, path: Path) -> None:
        self._model = Alone(path).model
        self._cache = DynamicCache()

    @torch.inference_mode()
    def start(self, context: Sequence[int], batch: int) -> None:
        """Compute the context, and repeat it for so many sequences."""
        self._cache = DynamicCache()
        self._model(torch.tensor([context]), past_key_values=self._cache, logits_to_keep=1)
        self._cache.batch_repeat_interleave(batch)

    @torch.inference_mode()
    def seconds(self, new: Ids) -> float:
        """The time of a pass over new ids; the cache is cut back afterwards."""
        started = time.thread_time()
        self._model(torch.tensor(new), past_key_values=self._cache, use_cache=True)
        taken = time.thread_time() - started
        self._cache.crop(-len(new[0]))
        return taken


def _measure_of(side: ByRunner | ByTransformers, shape: Shape) -> Callable[[int], float]:
    return lambda place: side.seconds(shape.ids(place))


def measure(path: Path, shapes: Sequence[Shape], rounds: int) -> Iterator[tuple[Shape, Any]]:
    """The median milliseconds of both for each shape."""
    runner = ByRunner(path)
    sides: dict[str, ByRunner | ByTransformers] = {
        "runner": runner,
        "transformers": ByTransformers(path),
    }
    code = "gac's lean code" if runner.is_lean else "transformers' modules"
    print(f"  {path.name}: the runner uses {code}")
    for shape in shapes:
        for side in sides.values():
            side.start(_random_ids("context", CONTEXT), shape.batch)
        measures = {name: _measure_of(side, shape) for name, side in sides.items()}
        found = alternate(measures, rounds)
        yield shape, {name: 1000 * seconds for name, seconds in medians(found).items()}


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch computes on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def show(found: Mapping[str, Mapping[Shape, Mapping[str, float]]], out: Path) -> None:
    """A table and a panel for each model."""
    with Plot(out / "runner.png", len(found)) as plot:
        for panel, (size, cells) in enumerate(found.items()):
            rows = [
                (str(shape), ms["transformers"], ms["runner"], ms["runner"] / ms["transformers"])
                for shape, ms in cells.items()
            ]
            columns = ["sequences x ids", "transformers, ms", "runner, ms", "ratio"]
            show_table(size, columns, rows)
            series: dict[str, list[tuple[float, float]]] = {}
            for shape, ms in cells.items():
                points = series.setdefault(f"{shape.chunk} ids", [])
                points.append((shape.batch, ms["runner"] / ms["transformers"]))
            plot.lines(panel, size, ("sequences", "runner / transformers"), series)


def check(size: str, cells: Mapping[Shape, Mapping[str, float]]) -> None:
    """Say whether a model's largest ratio is accepted."""
    if SHAPES[size].num_parameters(COMMON.size) < ACCEPTED_FROM:
        return
    ratios = {shape: ms["runner"] / ms["transformers"] for shape, ms in cells.items()}
    worst = max(ratios, key=lambda shape: ratios[shape])
    verdict = "accepted" if ratios[worst] <= LARGEST_RATIO else "NOT ACCEPTED"
    print(f"  {size}: at most {ratios[worst]:.2f} ({worst}), {verdict}: {LARGEST_RATIO} is allowed")


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the benchmark; `--tokens` bounds the new ids of a sequence in a pass."""
    known = parser(__doc__, rounds=5, tokens=max(CHUNKS))
    known.add_argument("--only", default="", choices=("", *SIZES), help="a size (default: all)")
    options = parse(known, arguments)
    options.members = "none but this process"
    sizes = [size for size in SIZES if options.only in ("", size)]
    batches = BATCHES
    if options.quick:
        sizes, batches = ["tiny"], BATCHES[:3]
    models = f"random Llamas: {', '.join(sizes)} parameters, a vocabulary of {COMMON.size}"
    about = announce("runner", options, models, "float32, one thread", SEEDS)
    shapes = [Shape(b, chunk) for b in batches for chunk in CHUNKS if chunk <= options.tokens]
    found = {}
    with tempfile.TemporaryDirectory() as folder, one_thread():
        for size in sizes:
            path = make_random_llama(Path(folder) / size, SHAPES[size], 1)
            found[size] = dict(measure(path, shapes, options.rounds))
    show(found, options.out)
    for size, cells in found.items():
        check(size, cells)
    named = {f"{size}, {shape}": ms for size, cells in found.items() for shape, ms in cells.items()}
    ratios = {name: ms["runner"] / ms["transformers"] for name, ms in named.items()}
    return finish(about, ratios, ms=named)


if __name__ == "__main__":
    main()
