"""A recorder of graphs for the CPU, as unforgiving as CUDA's.

What torch computes in a region is written on a tape with every shape and number, and only that is
computed by a replay: no Python of the region runs again.  Tensors from outside are bound for good
but not kept alive, the results of all tapes share their memory (another's replay spoils them), and
an operation that is not known to be safe is refused: one that waits for the GPU, say.
"""

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

KNOWN = set(
    "__and__ add_ addcmul_ alias arange cat detach embedding flatten full_like gt index_put_ le "
    "linear mul mul_ reshape rms_norm roll scaled_dot_product_attention silu slice sub transpose "
    "unsqueeze view where.self zeros".split()
)
"""What is only launched on CUDA, and waits for nothing."""


@dataclass(frozen=True)
class Made:
    """A tensor that the tape makes itself, by its number."""

    number: int


@dataclass
class Tape(TorchDispatchMode):
    """The operations of one region."""

    steps: list[tuple[Any, Any, Any, list[int]]] = field(default_factory=list)
    made: list[Tensor] = field(default_factory=list)
    numbers: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        name = func.__name__
        if not {name, name.split(".")[0]} & KNOWN:
            raise RuntimeError(f"{name} cannot be recorded")
        if name.startswith("index_put_") and torch.bool in {one.dtype for one in _tensors(args[1])}:
            raise RuntimeError("the number of places in a boolean index cannot be recorded")
        bound = tree_map(self._bind, (tuple(args), dict(kwargs or {})))
        result = func(*args, **(kwargs or {}))
        self.steps.append((func, *bound, [self._keep(one) for one in _tensors(result)]))
        return result

    def _bind(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        number = self.numbers.get(id(value))
        return weakref.ref(value) if number is None else Made(number)

    def _keep(self, tensor: Tensor) -> int:
        self.numbers[id(tensor)] = len(self.made)
        self.made.append(tensor)
        return len(self.made) - 1

    def play(self) -> dict[int, Tensor]:
        """Compute everything again; gives what was made by number."""
        made: dict[int, Tensor] = {}

        def find(value: Any) -> Any:
            if isinstance(value, Made):
                return made[value.number]
            if isinstance(value, weakref.ref):
                tensor = value()
                assert tensor is not None, "a graph reads what was freed"
                return tensor
            return value

        for func, args, kwargs, numbers in self.steps:
            args, kwargs = tree_map(find, (args, kwargs))
            made.update(zip(numbers, _tensors(func(*args, **kwargs)), strict=True))
        return made


def _tensors(result: Any) -> list[Tensor]:
    results = result if isinstance(result, tuple | list) else [result]
    return [one for one in results if isinstance(one, Tensor)]


class TapeRecorder:
    """Makes tapes."""

    def __init__(self) -> None:
        self.num_replays = 0
        self._results: list[weakref.ref[Tensor]] = []

    def results(self) -> list[Tensor]:
        """What replays gave that are still held."""
        return [one for ref in self._results if (one := ref()) is not None]

    def record(self, region: Callable[[], Tensor]) -> Callable[[], Tensor]:
        tape = Tape()
        with tape:
            result = region()
        number = tape.numbers[id(result)]
        held = torch.full_like(result, torch.nan)  # a recording computes nothing
        tape.made.clear()
        self._results.append(weakref.ref(held))

        def replay() -> Tensor:
            self.num_replays += 1
            for other in self.results():
                other.fill_(torch.nan)
            return held.copy_(tape.play()[number])

        return replay
