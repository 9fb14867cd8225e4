"""Rows of one position -> the token that is committed there, and who owns it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gac.core import Pick, Row, Sampling
from gac.decoding.combine import combine, owners
from gac.decoding.sampling import TokenOrder, pick_token


@dataclass(frozen=True, slots=True)
class Decider:
    """Combine, then pick: greedy or by one draw from the combined distribution."""

    weights: Mapping[str, float]
    sampling: Sampling
    order: TokenOrder

    def __call__(self, rows: Sequence[Row]) -> Pick:
        """The pick of these rows; all are of one position."""
        position = rows[0].position
        token = pick_token(combine(rows, self.weights), self.sampling, position, self.order)
        return Pick(position, token, owners(rows, self.weights, token))
