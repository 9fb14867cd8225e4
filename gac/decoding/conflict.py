"""The prefix-conflict guard: of two winners, one a prefix of the other, it keeps the anchor's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gac.core import END, Row, Sampling
from gac.decoding.combine import combine, share_out
from gac.decoding.penalties import Penalise
from gac.decoding.sampling import pick_token
from gac.decoding.support import TokenOrder

GREEDY = Sampling()


def leader(rows: Sequence[Row], weights: Mapping[str, float], wanted: str | None) -> str | None:
    """The member called `wanted` if it gave a row; for None, the one of the highest weight.

    Of equal weights the first name leads, so that the order of the configuration changes nothing.
    """
    if wanted is not None:
        return wanted if any(row.member == wanted for row in rows) else None
    shares = share_out(rows, weights)
    return min(shares, key=lambda name: (-shares[name], name))


@dataclass(frozen=True, slots=True)
class ConflictGuard:
    """Treats `Inc` and `Incorrect` as one choice that was tokenised differently.

    `tokens` are the union's, by id; without an `anchor` it is the member of the highest weight.
    If the anchor gives no row, nothing is changed.  END conflicts with no token.  Greedy only.
    Source: the code of CoRE (arXiv 2510.13855), which also uses it with GaC and UniTE.
    """

    anchor: str | None
    tokens: Sequence[bytes]
    order: TokenOrder

    def keep(
        self,
        rows: Sequence[Row],
        weights: Mapping[str, float],
        token: int,
        penalise: Penalise | None = None,
    ) -> int | None:
        """The ensemble's token or the anchor's; None if the anchor's entries do not tell which.

        The anchor's, too, is its favourite after penalties, so that none comes back through it.
        """
        anchor = leader(rows, weights, self.anchor)
        own = next((row for row in rows if row.member == anchor), None)
        if own is None:
            return token
        mean = combine([own], weights)
        changed = mean if penalise is None else penalise(mean, own.position)
        favourite = pick_token(changed, GREEDY, own.position, self.order)
        if favourite is None or END in (favourite, token):
            return None if favourite is None else token
        spelled, wished = self.tokens[token], self.tokens[favourite]
        is_conflict = spelled.startswith(wished) or wished.startswith(spelled)
        return favourite if is_conflict else token
