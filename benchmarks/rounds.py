"""Rounds that alternate, so that a noisy machine is noisy for everybody; and their medians."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")


def alternate(measures: Mapping[str, Callable[[int], T]], rounds: int) -> dict[str, list[T]]:
    """Results by name, one a round; a measure is told its round.

    In every round each measure runs once, in turn.  Round 0 warms up and does not count.
    """
    results: dict[str, list[T]] = {name: [] for name in measures}
    for place in range(rounds + 1):
        for name, measure in measures.items():
            result = measure(place)
            if place:
                results[name].append(result)
    return results


def medians(results: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The median of each."""
    return {name: statistics.median(values) for name, values in results.items()}


def median_by_key(results: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The median of each key over several results that have the same keys."""
    return {key: statistics.median(result[key] for result in results) for key in results[0]}


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least so many per cent do not exceed; of none it is nan."""
    ordered = sorted(values)
    if not ordered:
        return float("nan")
    place = -(-len(ordered) * percent // 100)
    return ordered[max(int(place) - 1, 0)]
