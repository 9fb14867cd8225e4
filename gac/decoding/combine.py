"""Several distributions over the union vocabulary into one."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from gac.core import Row


def combine(rows: Sequence[Row], weights: Mapping[str, float]) -> NDArray[np.float64]:
    """Weighted mean of the rows of one position, float64 [V].

    Weights are shared out anew among the members that are there.  Adds in float64, members in name
    order, so that the order of the configuration changes nothing.
    Source: GaC (arXiv 2406.12585) section 3.3 eq. (3), weighted as in section 4.3.
    """
    shares = share_out(rows, weights)
    combined = np.zeros(rows[0].probs.size, dtype=np.float64)
    for row in sorted(rows, key=lambda row: row.member):
        combined += shares[row.member] * row.probs.astype(np.float64)
    return combined


def share_out(rows: Sequence[Row], weights: Mapping[str, float]) -> dict[str, float]:
    """The weights of the members that gave a row, summing to 1."""
    present = sorted(row.member for row in rows)
    total = sum(weights[member] for member in present)
    if total <= 0.0:  # every member with a say abstains: those left decide in equal parts
        return dict.fromkeys(present, 1.0 / len(present))
    return {member: weights[member] / total for member in present}


def owners(rows: Sequence[Row], weights: Mapping[str, float], token: int) -> tuple[str, ...]:
    """The members whose weight x probability of the token is largest; exact ties: all of them."""
    shares = share_out(rows, weights)
    votes = {row.member: shares[row.member] * float(row.probs[token]) for row in rows}
    largest = max(votes.values())
    return tuple(sorted(member for member, vote in votes.items() if vote == largest))
