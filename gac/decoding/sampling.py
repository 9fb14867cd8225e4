"""One token from the combined distribution: greedy, or one seeded draw.

The draw is by Gumbel-max with noise that is a pure function of (seed, choice, position, bytes of
the token), so that a seeded request gives the same text alone, in a busy batch and after a restart.
Ties go by token bytes, END first, never by union id.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gac.core import Sampling

Ids = NDArray[np.intp]
Floats = NDArray[np.float64]
Hashes = NDArray[np.uint64]

_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class TokenOrder:
    """What sampling knows of the union vocabulary.

    `rank` int32 [V]: place of each token when sorted by bytes; `hashes` uint64 [V]: of its bytes.
    """

    rank: NDArray[np.int32]
    hashes: Hashes


def pick_token(probs: Floats, sampling: Sampling, position: int, order: TokenOrder) -> int:
    """The union id picked from a distribution, float64 [V]."""
    if sampling.temperature == 0.0:
        return _first_largest(np.arange(probs.size), probs, order)
    support = np.flatnonzero(probs > 0.0)
    support, logprobs = _tempered(support, probs[support], sampling.temperature)
    support, logprobs = _top_k(support, logprobs, sampling.top_k, order)
    support, logprobs = _top_p(support, logprobs, sampling.top_p, order)
    support, logprobs = _min_p(support, logprobs, sampling.min_p)
    scores = logprobs + gumbel_noise(sampling, position, order.hashes[support])
    return _first_largest(support, scores, order)


def gumbel_noise(sampling: Sampling, position: int, hashes: Hashes) -> Floats:
    """Standard Gumbel noise for tokens with these hashes, float64 of the same shape."""
    key = _mix_int(sampling.seed & _MASK)
    key = _mix_int(key ^ sampling.choice)
    key = _mix_int(key ^ position)
    bits = _mix(hashes ^ np.uint64(key))
    uniform = ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    noise: Floats = -np.log(-np.log(uniform))
    return noise


def _first_largest(ids: Ids, scores: Floats, order: TokenOrder) -> int:
    best = ids[np.flatnonzero(scores == scores.max())]
    return int(best[np.argmin(order.rank[best])])


def _tempered(support: Ids, probs: Floats, temperature: float) -> tuple[Ids, Floats]:
    """Log-probabilities of p ** (1 / temperature), normalised."""
    temperature = max(temperature, 1e-300)  # as good as greedy; smaller ones overflow
    return support, _normalised(np.log(probs) / temperature)


def _normalised(logits: Floats) -> Floats:
    shifted: Floats = logits - logits.max()
    logprobs: Floats = shifted - np.log(np.exp(shifted).sum())
    return logprobs


def _top_k(support: Ids, logprobs: Floats, k: int, order: TokenOrder) -> tuple[Ids, Floats]:
    """The k most probable tokens; 0 keeps all."""
    if k == 0 or k >= support.size:
        return support, logprobs
    kept = _descending(support, logprobs, order, k)[:k]
    return support[kept], _normalised(logprobs[kept])


def _top_p(support: Ids, logprobs: Floats, p: float, order: TokenOrder) -> tuple[Ids, Floats]:
    """The fewest most probable tokens whose mass reaches p; 1 keeps all."""
    if p >= 1.0:
        return support, logprobs
    count = 256
    while True:
        best = _descending(support, logprobs, order, min(count, support.size))
        mass = np.cumsum(np.exp(logprobs[best]))
        if mass[-1] >= p or best.size == support.size:
            break
        count *= 8
    kept = best[: int(np.searchsorted(mass, p)) + 1]
    return support[kept], _normalised(logprobs[kept])


def _min_p(support: Ids, logprobs: Floats, p: float) -> tuple[Ids, Floats]:
    """The tokens at least p times as probable as the most probable one; 0 keeps all."""
    if p == 0.0:
        return support, logprobs
    kept = logprobs >= logprobs.max() + np.log(p)
    return support[kept], _normalised(logprobs[kept])


def _descending(support: Ids, logprobs: Floats, order: TokenOrder, at_least: int) -> Ids:
    """Places of the most probable tokens, `at_least` of them, best first, ties by bytes."""
    smallest = np.partition(logprobs, -at_least)[-at_least]
    places = np.flatnonzero(logprobs >= smallest)
    ranks = order.rank[support[places]]
    return places[np.lexsort((ranks, -logprobs[places]))]


def _mix(bits: Hashes) -> Hashes:
    """SplitMix64's finaliser: every input bit moves every output bit (Steele et al. 2014)."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Hashes = bits ^ (bits >> np.uint64(31))
    return mixed


def _mix_int(value: int) -> int:
    seeded = np.array([(value + 0x9E3779B97F4A7C15) & _MASK], dtype=np.uint64)
    return int(_mix(seeded)[0])
