"""Times the lean forward pass against transformers' modules, when a model is loaded.

What the lean code saves is a fixed time per layer.  How much that is of a pass depends on the model
and on the machine, so both are timed there, and transformers' modules stay unless they are slower.
"""

import logging
import statistics
import time
from collections.abc import Callable

from gac.core import Extend
from gac.model.forward import Forward
from gac.model.loading import LoadedModel
from gac.model.self_check import Extends
from gac.model.sequences import sound

logger = logging.getLogger(__name__)

LARGEST_RATIO = 0.95
"""The lean code is used if it takes at most this share of the modules' time."""
_LONG_S = 0.25
"""A step that takes longer is not timed further: a few milliseconds saved do not matter in it."""
_BATCHES = (1, 4)
"""Sequences in a step, each of which computes one id."""
_CONTEXT = 32
_MOST_ROUNDS, _FEWEST_ROUNDS, _BUDGET_S = 7, 3, 0.5

UseLean = Callable[[bool], None]
Step = Callable[[int], None]
Clock = Callable[[], float]


def use_lean_if_faster(loaded: LoadedModel, forward: Forward, runner: Extends) -> None:
    """Have cached passes computed by the lean code if it is faster, else by the model's modules.

    `runner` computes with this forward pass and has no sequences yet.
    """
    # On a CPU the time that other processes take does not count.
    clock = time.thread_time if loaded.device.type == "cpu" else time.perf_counter
    ratio = ratio_of(forward.use_lean, _stepper(loaded, runner), clock)
    is_faster = ratio is not None and ratio <= LARGEST_RATIO
    forward.use_lean(is_faster)
    if ratio is None:
        found = "a step takes so long that gac's own code would save nothing"
    else:
        found = f"gac's own code takes {ratio:.2f} of the time of transformers' modules"
    code = "gac's own code" if is_faster else "transformers' modules"
    logger.info("%s: forward passes use %s (%s)", loaded.name, code, found)


def ratio_of(use_lean: UseLean, step: Step, clock: Clock) -> float | None:
    """The lean code's time over the modules': the mean over batch sizes of ratios of medians.

    None where a step is long.  The two alternate, so that other work on the machine slows both.
    """
    for is_lean in (True, False):
        use_lean(is_lean)
        step(1)  # warms up
        if _seconds(step, 1, clock) > _LONG_S:
            return None
    seconds: dict[tuple[int, bool], list[float]] = {}
    started = clock()
    for place in range(_MOST_ROUNDS):
        if place >= _FEWEST_ROUNDS and clock() - started > _BUDGET_S:
            break
        for is_lean in (True, False) if place % 2 else (False, True):
            use_lean(is_lean)
            for size in _BATCHES:
                seconds.setdefault((size, is_lean), []).append(_seconds(step, size, clock))
    median = {key: statistics.median(values) for key, values in seconds.items()}
    return statistics.mean(median[size, True] / median[size, False] for size in _BATCHES)


def _seconds(step: Step, size: int, clock: Clock) -> float:
    started = clock()
    step(size)
    return clock() - started


def _stepper(loaded: LoadedModel, runner: Extends) -> Step:
    """A step: as many sequences as it is told compute one id behind some context."""
    length = min(_CONTEXT, loaded.max_length - 1)
    context = tuple(place % loaded.num_ids for place in range(length))

    def step(size: int) -> None:
        items = [Extend(s, length, (1,), (length + 1,)) for s in range(size)]
        for logits in sound(runner.extend(items)):
            logits.cpu()  # waits for the GPU

    sound(runner.extend([Extend(s, 0, context, ()) for s in range(max(_BATCHES))]))
    return step
