"""Small passes as recorded graphs: one launch where there would be one per kernel.

On a GPU a pass of a few ids takes as long as its launches.  A graph repeats what was launched once,
on tensors at the same addresses: one is recorded for a shape that comes again, and void with the
cache's tensors.  Knows the lean forward pass; that its graphs are right is for `graph_check`.
"""

import logging
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from gac.model.kv_cache import RowCache, Window
from gac.model.lean_llama import LeanLlama, Pass

logger = logging.getLogger(__name__)

Replay = Callable[[], Tensor]

MEETINGS = 3
"""A shape is recorded when it is met so often: recording takes several passes."""
_WIDTHS = (1, 2, 4, 8)
_MAX_IDS = 256
"""Passes of more ids keep a GPU busy for longer than they take to launch."""
_STEP, _LONG_STEP = 256, 1024
_MAX_SHAPES = 32
_WARM_UPS = 2


class Recorder(Protocol):
    """Makes graphs."""

    def record(self, region: Callable[[], Tensor]) -> Replay:
        """What does again what a region does now, to the same tensors, whatever they hold then.

        The region may be run any number of times.  The tensor that a replay gives is the replay's
        own, and stands until another is run.  Tensors that the region uses are not kept alive.
        """


class CudaRecorder:
    """Records CUDA graphs, which share one pool of memory."""

    _turn: ClassVar = threading.Lock()
    """Torch records one graph at a time in a process, where other members may have threads."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        # One for all: libraries keep a workspace for each stream that they meet.
        self._stream: Any = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool: Any = None
        self._graphs = weakref.WeakSet[torch.cuda.CUDAGraph]()

    def record(self, region: Callable[[], Tensor]) -> Replay:
        """A replay of what the region launches, on the stream that is current then."""
        if not self._graphs:  # Torch refuses a pool whose graphs are all gone
            self._pool = torch.cuda.graph_pool_handle()
        current = torch.cuda.current_stream(self._device)
        graph = torch.cuda.CUDAGraph()
        # Torch stays on the stream of a recording that fails; the outer context leads back.
        with self._turn, torch.cuda.stream(self._stream):
            self._warm_up(region, current)
            # Thread-local: what other threads do meanwhile is no part of it, and no error.
            with torch.cuda.graph(
                graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
            ):
                result = region()
        self._graphs.add(graph)

        def replay() -> Tensor:
            graph.replay()
            return result

        return replay

    def _warm_up(self, region: Callable[[], Tensor], current: torch.cuda.Stream) -> None:
        """Let libraries set up what they may not while a graph is recorded."""
        self._stream.wait_stream(current)
        try:
            for _ in range(_WARM_UPS):
                region()
        finally:
            current.wait_stream(self._stream)


def recorder_for(device: torch.device) -> Recorder | None:
    """What makes graphs on a device; None where there are none."""
    return CudaRecorder(device) if device.type == "cuda" else None


@dataclass(frozen=True, slots=True)
class _Shape:
    """All that is fixed in a graph: its rows, ids per row, and slots that are attended to."""

    first: int
    rows: int
    width: int
    length: int


class _Graph:
    """One shape's graph, and the tensors it reads besides weights and cache."""

    def __init__(
        self, shape: _Shape, batch: Pass, lean: LeanLlama, cache: RowCache, recorder: Recorder
    ) -> None:
        """Records what the batch computes; mutates the cache as the batch would."""
        self._lean = lean
        ids = self._ids = batch.ids.new_empty(shape.rows, shape.width)
        positions = self._positions = torch.empty_like(ids)
        self._place(batch)
        angles = self._angles = lean.angles(positions, batch.longest)
        # Held, as all of these are: a graph keeps nothing alive.
        window = self._window = Window(cache, shape.first, positions, shape.length)

        def region() -> Tensor:
            return lean.hidden(ids, angles, lean.masks(positions, shape.length), window)

        self._replay = recorder.record(region)

    def run(self, batch: Pass) -> Tensor:
        """What the layers make of a pass, [B*T, hidden]; mutates the cache."""
        self._place(batch)
        angles = self._lean.angles(self._positions, batch.longest)
        for held, new in zip(self._angles, angles, strict=True):
            held.copy_(new)
        hidden = self._replay().view(*self._ids.shape, -1)
        return hidden[:, : batch.ids.shape[1]].flatten(0, 1)

    def _place(self, batch: Pass) -> None:
        """Copy ids and positions; padding repeats a row's last, and so writes the same again."""
        positions = batch.positions
        if positions is None:
            positions = torch.arange(batch.start, batch.longest, device=batch.ids.device)[None]
        width = batch.ids.shape[1]
        for held, new in ((self._ids, batch.ids), (self._positions, positions)):
            held[:, :width] = new
            held[:, width:] = new[:, -1:]


@dataclass(slots=True)
class _Met:
    """How often a shape was met, and its graph once that was often enough."""

    times: int = 0
    graph: _Graph | None = None


class Graphs:
    """The lean forward pass, through graphs where a pass is small and its shape comes again.

    Called as the lean one is.  Where the device or torch refuses a graph (RuntimeError), the lean
    pass takes its place, then and ever after; a defect of ours is not hidden so.
    """

    def __init__(self, lean: LeanLlama, recorder: Recorder, name: str) -> None:
        """`name` is the model's, for the log."""
        self.lean = lean
        self.name = name
        self.is_on = False
        self.num_recorded = 0
        self.num_replayed = 0
        self._recorder = recorder
        self._stamp: object = None
        self._met: dict[_Shape, _Met] = {}  # in order of last use

    def __call__(self, batch: Pass, cache: RowCache) -> Tensor:
        """Logits [N, Vm]; mutates the cache, which is aimed at the rows of the pass."""
        hidden = None
        if self.is_on:
            try:
                hidden = self._hidden(batch, cache)
            except RuntimeError as reason:  # an operation that cannot be recorded, or no memory
                self.switch_off(f"one failed with {reason!r}")
        if hidden is None:
            return self.lean(batch, cache)
        return self.lean.logits(hidden, batch.wanted)

    def switch_off(self, reason: str) -> None:
        """Run all passes without graphs from now on."""
        logger.warning("%s runs without graphs from now on: %s", self.name, reason)
        self.is_on = False
        self.forget()

    def forget(self) -> None:
        """Drop all graphs and what is known of shapes."""
        self._met.clear()

    def _hidden(self, batch: Pass, cache: RowCache) -> Tensor | None:
        """What the layers make of a pass, [B*T, hidden]; None where it has no graph."""
        if cache.stamp is not self._stamp:
            self.forget()
            self._stamp = cache.stamp
        shape = _shape_of(batch, cache)
        if shape is None:
            return None
        met = self._met[shape] = self._met.pop(shape, _Met())
        if len(self._met) > _MAX_SHAPES:
            del self._met[next(iter(self._met))]
        met.times += 1
        if met.times < MEETINGS:
            return None
        if met.graph is None:
            met.graph = _Graph(shape, batch, self.lean, cache, self._recorder)
            self.num_recorded += 1
        self.num_replayed += 1
        return met.graph.run(batch)


def _shape_of(batch: Pass, cache: RowCache) -> _Shape | None:
    """The smallest shape of a graph that holds a pass; None where it is too large for one."""
    rows, size = batch.ids.shape
    width = next((width for width in _WIDTHS if width >= size), None)
    if width is None or rows * width > _MAX_IDS:
        return None
    step = _STEP if batch.longest <= _LONG_STEP else _LONG_STEP
    length = -(-batch.longest // step) * step
    return _Shape(cache.first, rows, width, min(length, cache.length))
