"""Switches graphs on where a program of small passes gives the same logits with and without.

A graph that reads a tensor which was freed, or a number which has changed, gives wrong logits in
silence; so shapes come again with other ids, rows and lengths, and with a cache that was rebuilt.
"""

import random
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gac.core import Extend
from gac.model.graphs import MEETINGS, Graphs
from gac.model.loading import LoadedModel
from gac.model.self_check import Extends, error_of, tolerance
from gac.model.sequences import sound

_PASSES = (((0, 1, 2), 1), ((1, 2), 2), ((0, 1, 2), 3), ((2,), 7))
"""Sequences, and how many ids the first of them computes; each further one a little fewer."""
_REPEATS = MEETINGS + 2
_LONGEST = 48


def check_graphs(loaded: LoadedModel, graphs: Graphs, runner: Callable[[], Extends]) -> None:
    """Switch graphs on if runners whose passes go through them give the logits of those without."""
    try:
        program = _program(loaded)
        expected = _answers(runner(), program)
        graphs.is_on = True
        found = _answers(runner(), program)
        error = max(error_of(*pair) for pair in zip(found, expected, strict=True))
    except Exception as reason:  # no memory, or whatever a device makes of a failed recording
        graphs.switch_off(f"they cannot be checked: {reason!r}")
        return
    if not graphs.is_on:
        return
    if error > tolerance(loaded):
        graphs.switch_off(f"with them it differs by {error:.1e}")
    elif not graphs.num_replayed:
        graphs.switch_off("none was replayed")
    graphs.forget()


@torch.inference_mode()
def _answers(runner: Extends, program: Sequence[Sequence[Extend]]) -> list[Tensor]:
    return [logits for batch in program for logits in sound(runner.extend(batch))]


def _program(loaded: LoadedModel) -> list[list[Extend]]:
    """Three random texts that grow, and are cut where they are too long; then a fourth comes.

    It takes a row more than there are, so the cache is rebuilt before all is done again.
    """
    draw, limit = random.Random(0), min(loaded.max_length, _LONGEST)
    lengths: dict[int, int] = {}

    def item(sequence: int, size: int) -> Extend:
        size, length = min(size, limit), lengths.get(sequence, 0)
        kept = length if length + size <= limit else (limit - size) // 2
        lengths[sequence] = kept + size
        tail = tuple(draw.randrange(loaded.num_ids) for _ in range(size))
        return Extend(sequence, kept, tail, tuple(range(kept + 1, kept + size + 1)))

    program = []
    for newcomers in ((0, 1, 2), (3,)):
        program.append([item(sequence, 9 - 2 * sequence) for sequence in newcomers])
        for sequences, width in _PASSES * _REPEATS:
            sizes = (max(1, width - order) for order in range(len(sequences)))
            program.append([item(*pair) for pair in zip(sequences, sizes, strict=True)])
    return program
