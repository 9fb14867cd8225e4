"""Rows of one position -> the token that is committed there, and who owns it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gac.core import Pick, Row, Sampling
from gac.decoding.combine import combine, owners
from gac.decoding.greedy import clear_winner
from gac.decoding.sampling import pick_token
from gac.decoding.support import TokenOrder


@dataclass(frozen=True, slots=True)
class Decider:
    """Combine, then pick: greedy or by one draw from the combined distribution."""

    weights: Mapping[str, float]
    sampling: Sampling
    order: TokenOrder

    def __call__(self, rows: Sequence[Row]) -> Pick | None:
        """The pick of these rows, all of one position; None where more entries are needed.

        What is picked from some entries is what all entries would give.
        """
        position = rows[0].position
        if self.sampling.temperature == 0.0:
            winner = clear_winner(rows, self.weights)
            if winner is not None:
                return Pick(position, *winner)
        token = pick_token(combine(rows, self.weights), self.sampling, position, self.order)
        if token is None:
            return None
        standing = owners(rows, self.weights, token)
        return None if standing is None else Pick(position, token, standing)
