"""Several distributions over the union vocabulary into one, as far as their entries tell.

Their weighted mean is the default; other aggregations are files of their own.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gac.config.methods import AggregationConfig
from gac.core import Entries, Row

Floats = NDArray[np.float64]

TIE = 1e-4
"""Shares of the say that differ by no more, relatively, are equal.

A model and its twin compute them a little differently in passes of other shapes, and each kind of
processor in its own way: a probability is off, relatively, by as much as its logit is.  Measured
on two float32 models whose twin drafts, over about a hundred tokens each, the largest difference
was between 0.5e-5 and 2.5e-5, by the instructions that torch and MKL were told to use.
"""


@dataclass(frozen=True, slots=True)
class Mean:
    """What some rows combine to: `ids` int32 [U], each once, with bounds float64 [U].

    It need not sum to 1.  A listed id's value lies from `low` to `high`, which are one array where
    every row lists every id; no other id has more than `bound`, all others together at most `rest`.
    """

    ids: NDArray[np.int32]
    low: Floats
    high: Floats
    bound: float
    rest: float

    @property
    def is_complete(self) -> bool:
        """Whether every value is known: `high` is `low` itself."""
        return self.high is self.low


@dataclass(frozen=True, slots=True)
class Vote:
    """An aggregation's outcome: a distribution, and the rows and weights that stand behind it."""

    mean: Mean
    rows: Sequence[Row]
    weights: Mapping[str, float]


Aggregate = Callable[[Sequence[Row], Mapping[str, float]], Vote | None]
"""Rows of one position, each with a say, in name order -> their vote; None where entries lack."""


def arithmetic(rows: Sequence[Row], weights: Mapping[str, float]) -> Vote:
    """The weighted mean.  Source: GaC (arXiv 2406.12585) section 3.3 eq. (3)."""
    return Vote(combine(rows, weights), rows, weights)


def combine(rows: Sequence[Row], weights: Mapping[str, float]) -> Mean:
    """Weighted mean of the rows of one position, in time linear in their entries.

    Weights are shared out anew among the members that are there.  Adds in float64, members in name
    order, so that the order of the configuration changes nothing.
    Source: GaC (arXiv 2406.12585) section 3.3 eq. (3), weighted as in section 4.3.
    """
    shares = share_out(rows, weights)
    ordered = sorted(rows, key=lambda row: row.member)
    first = ordered[0].entries
    if all(row.entries.is_complete and row.entries.ids.size == first.ids.size for row in ordered):
        # Dense rows, and one row alone, list the same ids in the same places.
        if all(row.entries.ids is first.ids or _same(row, ordered[0]) for row in ordered):
            exact = np.zeros(first.ids.size, dtype=np.float64)
            for row in ordered:
                exact += shares[row.member] * row.entries.probs.astype(np.float64)
            return Mean(first.ids, exact, exact, 0.0, 0.0)
    return _united(ordered, shares)


def _same(row: Row, other: Row) -> bool:
    return bool((row.entries.ids == other.entries.ids).all())


def _united(rows: Sequence[Row], shares: Mapping[str, float]) -> Mean:
    """The mean of rows that list different ids."""
    ids = np.unique(np.concatenate([row.entries.ids for row in rows]))
    low, high = np.zeros(ids.size), np.zeros(ids.size)
    bound, rest = 0.0, 0.0
    for row in rows:
        share, entries = shares[row.member], row.entries
        at = np.searchsorted(ids, entries.ids)
        listed = share * entries.probs.astype(np.float64)
        low[at] += listed
        most = np.full(ids.size, share * entries.bound)
        most[at] = listed
        high += most
        bound += share * entries.bound
        rest += share * entries.rest
    return Mean(ids, low, low if bound == 0.0 else high, bound, rest)


def share_out(rows: Sequence[Row], weights: Mapping[str, float]) -> dict[str, float]:
    """The weights of the members that gave a row, summing to 1."""
    return shares_of((row.member for row in rows), weights)


def shares_of(members: Iterable[str], weights: Mapping[str, float]) -> dict[str, float]:
    """The weights of some members in name order, summing to 1; equal parts where none has any."""
    present = sorted(members)
    total = sum(weights[member] for member in present)
    if total <= 0.0:  # every member with a say abstains: those left decide in equal parts
        return dict.fromkeys(present, 1.0 / len(present))
    return {member: weights[member] / total for member in present}


def voters(rows: Sequence[Row], weights: Mapping[str, float]) -> list[Row]:
    """The rows of the members that have a say, in name order."""
    shares = share_out(rows, weights)
    return sorted((row for row in rows if shares[row.member] > 0.0), key=lambda row: row.member)


def owners(rows: Sequence[Row], weights: Mapping[str, float], token: int) -> tuple[str, ...] | None:
    """The members whose weight x probability of the token is largest, to within `TIE`.

    None where a member that does not list the token might be one, or might have the largest.
    """
    shares = share_out(rows, weights)
    votes, largest_unlisted = {}, -1.0
    for row in rows:
        at = np.flatnonzero(row.entries.ids == token)
        if at.size:
            votes[row.member] = shares[row.member] * float(row.entries.probs[at[0]])
        elif row.entries.is_complete:
            votes[row.member] = 0.0
        else:
            largest_unlisted = max(largest_unlisted, shares[row.member] * row.entries.bound)
    enough = max(votes.values(), default=-1.0) * (1.0 - TIE)
    if enough <= largest_unlisted:
        return None
    return tuple(sorted(member for member, vote in votes.items() if vote >= enough))


def looked_up(entries: Entries, ids: NDArray[np.int32]) -> Floats | None:
    """A row's probabilities of some ids; None where it does not list them all, nor everything."""
    by_id = np.argsort(entries.ids)
    listed = entries.ids[by_id]
    at = np.minimum(np.searchsorted(listed, ids), listed.size - 1)
    is_listed = listed[at] == ids
    if not (entries.is_complete or is_listed.all()):
        return None
    probs: Floats = np.where(is_listed, entries.probs[by_id][at].astype(np.float64), 0.0)
    return probs


class ArithmeticConfig(AggregationConfig):
    """The weighted mean of the members' probabilities."""

    name: Literal["arithmetic"] = "arithmetic"
    is_normalised = True

    def function(self, main: str | None, order: object) -> Aggregate:
        return arithmetic
