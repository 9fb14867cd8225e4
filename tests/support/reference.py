"""The oracle: token-level ensembling straight from the equations.

Dense, uncached, unbatched, one sequence at a time, no threads, no windows kept between steps.  A
member is a function from ids to probabilities over its own vocabulary.  Shares nothing with the
engine but the vocabularies (what tokens are, and how text is encoded).
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from gac.core import Sampling
from gac.vocabulary.member_vocabulary import MemberVocabulary
from gac.vocabulary.retokenize import window_start
from gac.vocabulary.text_encoder import CannotSpell

Distribution = dict[bytes, float]
Votes = dict[str, Distribution]
Aggregate = Callable[[Votes, Mapping[str, float]], tuple[Distribution, Votes]]
"""Rows by member, and weights that sum to 1 -> the combined distribution, and who votes how."""
Penalise = Callable[[Distribution, Sequence[bytes]], Distribution]
"""A combined distribution and the tokens in front of it -> what a token is picked from."""
Model = Callable[[Sequence[int]], Sequence[float]]
"""Ids -> probabilities [Vm] after them."""
END = b""
OWNER_TIE = 1e-4
"""Shares of the say that differ by no more, relatively, are equal."""


@dataclass
class Member:
    """One member: its model, its vocabulary, its prompt, and the tail it has written."""

    model: Model
    vocabulary: MemberVocabulary
    prompt: Sequence[int]
    lead: bool = False
    tail: list[int] = field(default_factory=list)
    abstains: bool = False

    def distribution(self, text: bytes) -> dict[bytes, float]:
        """Eq. (3), one term: probabilities by token bytes, END under the empty string."""
        ids = [*self.prompt, *self.tail]
        if not (self.lead and not text):
            return self._by_bytes(ids, strip=False)
        space = self.vocabulary.canonical.get(b" ")
        plain = self._by_bytes(ids, strip=True)
        dummy = plain.pop(None, 0.0)  # type: ignore[call-overload]
        if space is None or not dummy:
            return plain
        after = self._by_bytes([*ids, space], strip=False)
        return {t: plain.get(t, 0.0) + dummy * after.get(t, 0.0) for t in {*plain, *after}}

    def _by_bytes(self, ids: Sequence[int], strip: bool) -> dict[bytes, float]:
        own = self.vocabulary
        probs = self.model(ids)
        allowed = [i for i in range(len(probs)) if own.token_bytes[i] or i in own.stop_ids]
        total = math.fsum(probs[i] for i in allowed)
        united: dict[bytes, float] = {}
        for i in allowed:
            token = own.token_bytes[i]
            if strip and token == b" ":
                token = None  # type: ignore[assignment]  # the dummy space by itself
            elif strip and token.startswith(b" "):
                token = token[1:]
            united[token] = united.get(token, 0.0) + probs[i] / total
        return united

    def follow(self, text: bytes, token: bytes, owned: bool, rule: str) -> None:
        """Eq. (4): take `token` into the context; `text` is what was committed before it."""
        encode = self.vocabulary.encoder.encode
        added = (b" " if self.lead and not text else b"") + token
        try:
            if owned and added in self.vocabulary.canonical:
                self.tail = [*self.tail, self.vocabulary.canonical[added]]
            elif rule == "append":
                self.tail = [*self.tail, *encode(added)]
            else:
                self._retokenise((b" " if self.lead else b"") + text + token)
        except CannotSpell:
            self.abstains = True

    def _retokenise(self, own_text: bytes) -> None:
        border, kept, offset = window_start(own_text), [], 0
        for token_id in self.tail:
            length = len(self.vocabulary.token_bytes[token_id])
            if offset + length > border:
                break
            kept.append(token_id)
            offset += length
        self.tail = [*kept, *self.vocabulary.encoder.encode(own_text[offset:])]


def arithmetic(rows: Votes, weights: Mapping[str, float]) -> tuple[Distribution, Votes]:
    """Eq. (3): the weighted mean."""
    votes = {name: {t: weights[name] * p for t, p in row.items()} for name, row in rows.items()}
    combined: Distribution = {}
    for row in votes.values():
        for token, vote in row.items():
            combined[token] = combined.get(token, 0.0) + vote
    return combined, votes


def generate(
    members: Mapping[str, Member],
    weights: Mapping[str, float],
    *,
    max_new_tokens: int,
    rule: str = "canonical",
    gate: str | None = None,
    threshold: float = 1.0,
    below: str = "ensemble",
    sampling: Sampling | None = None,
    noise: Callable[[int, bytes], float] | None = None,
    min_new_tokens: int = 0,
    aggregate: Aggregate = arithmetic,
    guard: bool | str = False,
    draw: Callable[[int], Sequence[str]] | None = None,
    penalise: Penalise | None = None,
) -> tuple[list[bytes], bool]:
    """The tokens that the ensemble writes, and whether it ended by END.

    `draw`: the order in which members are drawn for a token, the first of which decides alone.
    """
    text: list[bytes] = []
    while len(text) < max_new_tokens:
        rows = {
            name: _going_on(member.distribution(b"".join(text)), len(text) < min_new_tokens)
            for name, member in sorted(members.items())
            if not member.abstains
        }
        if draw is not None:
            drawn = next(name for name in draw(len(text)) if name in rows)
            rows = {drawn: rows[drawn]}
        if gate is not None:  # eq. (5)
            if gate in rows and max(rows[gate].values()) > threshold:
                rows = {gate: rows[gate]}
            elif below == "replace" and len(rows) > 1:
                rows.pop(gate, None)
        winner, owners = decide(
            rows,
            weights,
            len(text),
            aggregate,
            guard=guard,
            sampling=sampling,
            noise=noise,
            penalise=partial(penalise or unpenalised, text=text),
        )
        if winner == END:
            return text, True
        for name, member in members.items():
            member.follow(b"".join(text), winner, name in owners, rule)
        text.append(winner)
    return text, False


def decide(
    rows: Votes,
    weights: Mapping[str, float],
    position: int,
    aggregate: Aggregate,
    *,
    guard: bool | str = False,
    sampling: Sampling | None = None,
    noise: Callable[[int, bytes], float] | None = None,
    penalise: Callable[[Distribution], Distribution] = dict,
) -> tuple[bytes, set[str]]:
    """The token of these rows, and its owners.

    `guard` names an anchor, or is true for the member of the highest weight: where its winner and
    the ensemble's are prefixes of one another, its own stands.
    """
    shares = shares_of(rows, weights)
    rows = {name: rows[name] for name in sorted(rows) if shares[name] > 0.0}
    combined, votes = (arithmetic if len(rows) == 1 else aggregate)(rows, shares)
    winner = _pick(penalise(combined), sampling, noise, position)
    anchor = min(rows, key=lambda name: (-shares[name], name)) if guard is True else guard
    if anchor in rows:
        own = _pick(penalise(rows[anchor]), None, None, position)
        if END not in (own, winner) and (own.startswith(winner) or winner.startswith(own)):
            winner = own
    largest = max(row.get(winner, 0.0) for row in votes.values())
    enough = largest * (1.0 - OWNER_TIE)
    return winner, {name for name, row in votes.items() if row.get(winner, 0.0) >= enough}


def unpenalised(combined: Distribution, text: Sequence[bytes]) -> Distribution:
    """As it is."""
    return combined


def penalising(
    presence: float,
    frequency: float,
    repetition: float,
    bias: Mapping[bytes, float],
    prompts: Iterable[bytes],
) -> Penalise:
    """logit * repetition - presence [it is there] - frequency * (how often) + bias."""
    read = set(prompts) - {END}

    def penalise(combined: Distribution, text: Sequence[bytes]) -> Distribution:
        total, changed = math.fsum(combined.values()), dict(combined)
        for token in {*read, *text, *bias} & set(combined):
            power = repetition if token in read or token in text else 1.0
            added = bias.get(token, 0.0) - frequency * text.count(token)
            added -= presence * (token in text)
            if combined[token] > 0.0 and (power, added) != (1.0, 0.0):
                logit = math.log(combined[token] / total)
                changed[token] = total * math.exp(power * logit + added)
        return changed

    return penalise


def shares_of(names: Iterable[str], weights: Mapping[str, float]) -> dict[str, float]:
    """The weights of some members, summing to 1; where none has any, equal parts."""
    names = list(names)
    total = sum(weights[name] for name in names)
    return {name: weights[name] / total if total else 1.0 / len(names) for name in names}


def _going_on(row: dict[bytes, float], must: bool) -> dict[bytes, float]:
    if not must:
        return row
    rest = 1.0 - row.get(END, 0.0)
    return {token: p / rest for token, p in row.items() if token != END}


def _pick(
    combined: dict[bytes, float],
    sampling: Sampling | None,
    noise: Callable[[int, bytes], float] | None,
    position: int,
) -> bytes:
    """The most probable token, or one draw; ties by bytes, END first."""
    ranked = sorted(combined.items(), key=lambda item: (-item[1], item[0]))
    if sampling is None or sampling.temperature == 0.0:
        return ranked[0][0]
    assert noise is not None
    ranked = [(token, p) for token, p in ranked if p > 0.0]
    heated = _normal([(token, math.log(p) / sampling.temperature) for token, p in ranked])
    if sampling.top_k:
        heated = _normal(heated[: sampling.top_k])
    if sampling.top_p < 1.0:
        mass, kept = 0.0, []
        for token, logprob in heated:
            kept.append((token, logprob))
            mass += math.exp(logprob)
            if mass >= sampling.top_p:
                break
        heated = _normal(kept)
    if sampling.min_p > 0.0:
        floor = heated[0][1] + math.log(sampling.min_p)
        heated = [(token, logprob) for token, logprob in heated if logprob >= floor]
    scored = [(logprob + noise(position, token), token) for token, logprob in heated]
    return min(scored, key=lambda item: (-item[0], item[1]))[1]


def _normal(logits: list[tuple[bytes, float]]) -> list[tuple[bytes, float]]:
    total = math.log(math.fsum(math.exp(value) for _, value in logits))
    return [(token, value - total) for token, value in logits]
