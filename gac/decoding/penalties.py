"""Penalties and biases: a combined distribution is changed before a token is picked from it.

What strategies compare with thresholds, and what members verify, stays as the members gave it.  A
changed distribution need not sum to 1, and its bounds hold as before: what is picked from some
entries is what all would give.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gac.core import END, Ids, Penalties
from gac.decoding.combine import Floats, Mean

MOST_ADDED = 300.0
"""No more is added to a logit in sum, or taken off: far more than any draw can make up for."""
_LEAST = -700.0
"""The least logarithm that a value above 0 is given, so that it stays above 0."""


class History:
    """The union ids of one text by position: those committed, behind them those drafted for now."""

    def __init__(self) -> None:
        self._tokens: list[int] = []

    def put(self, position: int, token: int) -> bool:
        """Note the token at a position; returns whether it takes the place of another.

        If so, those behind it are forgotten, as they were drafted after the other.
        """
        before = self._tokens[position : position + 1]
        assert position <= len(self._tokens), "a token is noted before the one in front of it"
        if before == [token]:
            return False
        self._tokens[position:] = [token]
        return bool(before)

    def before(self, position: int) -> Ids:
        """The tokens in front of a position."""
        assert position <= len(self._tokens), "a token in front is not known"
        return np.array(self._tokens[:position], dtype=np.int32)


@dataclass(frozen=True, slots=True)
class _Changes:
    """Of some tokens, sorted by union id: a logit x becomes power * x + added."""

    ids: Ids
    powers: Floats
    added: Floats

    @property
    def may_raise(self) -> NDArray[np.bool_]:
        """Of which tokens some probability grows."""
        raises: NDArray[np.bool_] = (self.powers < 1.0) | (self.added > 0.0)
        return raises

    def only(self, which: NDArray[np.bool_]) -> "_Changes":
        return _Changes(self.ids[which], self.powers[which], self.added[which])

    def of(self, values: Floats) -> Floats:
        """Values of these tokens, changed; 0 stays 0, and what is larger is not less after it."""
        with np.errstate(divide="ignore"):
            logits = self.powers * np.log(values) + self.added
        changed: Floats = np.where(values > 0.0, np.exp(np.maximum(logits, _LEAST)), 0.0)
        return changed


@dataclass(frozen=True, slots=True)
class Penalise:
    """Changes the distribution at a position by the tokens in front of it.

    `read` are the tokens (sorted union ids) of all members' prompts, and of the first `num_forced`
    of the text, which are no part of the answer.  END is never among the tokens that a penalty
    meets, as prompts hold it between messages; a bias meets it.
    Source: the OpenAI API (presence, frequency, bias); CTRL (arXiv 1909.05858) section 4.1 as in
    transformers, applied to log-probabilities (repetition).
    """

    values: Penalties
    read: Ids
    history: History
    num_forced: int = 0

    @property
    def needs_probabilities(self) -> bool:
        """Whether it matters what the distribution sums to."""
        return self.values.repetition != 1.0

    def __call__(self, mean: Mean, position: int) -> Mean:
        """The distribution, changed; one that sums to 1 where `needs_probabilities`."""
        changes = self._changes(position)
        place_of = np.full(1 + int(max(mean.ids.max(), changes.ids.max(initial=0))), -1)
        place_of[mean.ids] = np.arange(mean.ids.size)
        places = place_of[changes.ids]
        here, at = changes.only(places >= 0), places[places >= 0]
        low = mean.low.copy()
        low[at] = here.of(mean.low[at])
        if mean.is_complete:
            return replace(mean, low=low, high=low)
        high = mean.high.copy()
        high[at] = here.of(mean.high[at])
        # A token that is not listed may grow beyond the bound of all others.
        new = changes.only((places < 0) & changes.may_raise)
        return replace(
            mean,
            ids=np.concatenate([mean.ids, new.ids]),
            low=np.concatenate([low, np.zeros(new.ids.size)]),
            high=np.concatenate([high, new.of(np.full(new.ids.size, mean.bound))]),
        )

    def _changes(self, position: int) -> _Changes:
        """What becomes of every token that is not left as it is."""
        values = self.values
        answer = self.history.before(position)[self.num_forced :]
        written, counts = np.unique(answer, return_counts=True)
        biased = np.array(sorted(values.bias), dtype=np.int32)
        ids = np.unique(np.concatenate([written, biased, self.read]))
        powers, added = np.ones(ids.size), np.zeros(ids.size)
        at = np.searchsorted(ids, written)
        added[at] -= values.presence + values.frequency * counts
        powers[at] = powers[np.searchsorted(ids, self.read)] = values.repetition
        at = np.searchsorted(ids, biased)
        added[at] += [values.bias[token] for token in biased.tolist()]
        changes = _Changes(ids, powers, np.clip(added, -MOST_ADDED, MOST_ADDED))
        return changes.only((powers != 1.0) | (added != 0.0))


def tokens_read(prompts: list[Ids]) -> Ids:
    """The tokens of some prompts in union ids, sorted, each once; END is none of them."""
    read = np.unique(np.concatenate([np.zeros(0, dtype=np.int32), *prompts]))
    return read[read > END]
