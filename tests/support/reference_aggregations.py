"""The oracle's aggregations, straight from the equations: rows by token bytes, nothing left out."""

import math
from collections.abc import Callable, Mapping

from tests.support.reference import Aggregate, Distribution, Votes, arithmetic

Shares = Mapping[str, float]


def geometric(rows: Votes, weights: Shares) -> tuple[Distribution, Votes]:
    """prod p_i ** w_i."""
    return _each(rows, weights, lambda ps, ws: math.prod(p**w for p, w in zip(ps, ws, strict=True)))


def minimum(rows: Votes, weights: Shares) -> tuple[Distribution, Votes]:
    """min p_i."""
    return _each(rows, weights, lambda ps, ws: min(ps))


def _each(
    rows: Votes, weights: Shares, join: Callable[[list[float], list[float]], float]
) -> tuple[Distribution, Votes]:
    shares = [weights[name] for name in rows]
    combined = {
        token: join([row.get(token, 0.0) for row in rows.values()], shares)
        for token in set().union(*rows.values())
    }
    mean, votes = arithmetic(rows, weights)
    return (combined if any(combined.values()) else mean), votes


def unite(top_k: int) -> Aggregate:
    """The mean over the union of everybody's top k."""

    def aggregate(rows: Votes, weights: Shares) -> tuple[Distribution, Votes]:
        candidates = set()
        for row in rows.values():
            ranked = sorted(row, key=lambda token: (-row[token], token))
            candidates |= {token for token in ranked[:top_k] if row[token] > 0.0}
        mean, votes = arithmetic(rows, weights)
        return {token: mean[token] for token in candidates}, votes

    return aggregate


def _entropy(row: Distribution) -> float:
    return -math.fsum(p * math.log(p) for p in row.values() if p > 0.0) + 1e-6


def entropy(rows: Votes, weights: Shares) -> tuple[Distribution, Votes]:
    """w_i / H(p_i)."""
    return arithmetic(rows, _shared({n: weights[n] / _entropy(row) for n, row in rows.items()}))


def core(main: str | None = None) -> Aggregate:
    """m_0 p_0 + sum m_i s_i p_i."""

    def aggregate(rows: Votes, weights: Shares) -> tuple[Distribution, Votes]:
        first = main if main in rows else min(rows, key=lambda name: (-weights[name], name))
        tokens = set().union(*rows.values())
        centre = {t: sum(row.get(t, 0.0) for row in rows.values()) / len(rows) for t in tokens}
        scored, says = {}, {}
        for name, row in rows.items():
            scores = {
                t: (math.exp(-2.0 * abs(row.get(t, 0.0) - centre[t])) - math.exp(-2.0))
                / (1.0 - math.exp(-2.0))
                for t in tokens
                if row.get(t, 0.0) + rows[first].get(t, 0.0) > 1e-12
            }
            total = math.fsum(scores.values())
            says[name] = weights[name] * total / _entropy(row)
            scale = sum(score != 0.0 for score in scores.values()) / total
            scored[name] = {t: row.get(t, 0.0) * s * scale for t, s in scores.items()}
        scored[first] = rows[first]
        says[first] = max(says[first], sum(says.values()) - says[first])
        shares = _shared(says)
        return arithmetic(scored, shares)[0], arithmetic(rows, shares)[1]

    return aggregate


def replace(by: str) -> Aggregate:
    """One row decides."""

    def aggregate(rows: Votes, weights: Shares) -> tuple[Distribution, Votes]:
        if by not in rows:
            return arithmetic(rows, weights)
        return arithmetic({by: rows[by]}, {by: 1.0})

    return aggregate


def _shared(scores: Shares) -> dict[str, float]:
    total = sum(scores.values())
    return {name: score / total for name, score in scores.items()}
