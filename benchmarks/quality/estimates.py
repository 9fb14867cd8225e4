"""Means with their standard errors, over questions or texts as the units that were drawn."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A value and its standard error."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:.3g} ± {self.error:.2g}"

    @property
    def percent(self) -> str:
        """Both in per cent."""
        return f"{100 * self.value:.1f} ± {100 * self.error:.1f}"


def mean(values: Sequence[float]) -> Estimate:
    """The mean; of marks 0 and 1 the error is sqrt(p (1 - p) / (n - 1))."""
    return ratio(values, [1.0] * len(values))


def paired(ours: Sequence[float], theirs: Sequence[float]) -> Estimate:
    """The mean difference on the same questions; what both find hard cancels out of its error."""
    return mean([one - other for one, other in zip(ours, theirs, strict=True)])


def ratio(parts: Sequence[float], wholes: Sequence[float]) -> Estimate:
    """The sum of parts over the sum of wholes, one pair a text; texts are the units.

    The error is the linearised one of a ratio: tokens of one text are no independent draws.
    """
    count, whole = len(parts), sum(wholes)
    if not whole:
        return Estimate(math.nan, math.nan)
    value = sum(parts) / whole
    if count < 2:
        return Estimate(value, math.nan)
    off = sum((part - value * one) ** 2 for part, one in zip(parts, wholes, strict=True))
    return Estimate(value, math.sqrt(off * count / (count - 1)) / whole)
