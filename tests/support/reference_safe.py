"""The oracle for SAFE (arXiv 2510.15346): draft, verify, ensemble, straight from section 3.

Dense, uncached, one sequence; built on the members of `reference.py`.  Texts are compared as
bytes: position j of a draft is aligned with a verifier if the text before it is a whole number of
the verifier's tokens, when it tokenises text and draft together.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gac.config import SafeConfig
from gac.core import Sampling
from gac.vocabulary.retokenize import window_start
from tests.support.reference import (
    END,
    Aggregate,
    Distribution,
    Member,
    Penalise,
    Votes,
    _going_on,
    _pick,
    arithmetic,
    decide,
    shares_of,
    unpenalised,
)
from tests.support.reference_aggregations import geometric

Row = dict[bytes, float]
LOOK_AHEAD = 4


@dataclass
class Safe:
    """One text, by the numbers of `config`; temperature > 0: the sampling form of appendix H.

    `aggregate` and `guard` are what the configuration names; a true guard is the drafter's.
    """

    config: SafeConfig
    members: Mapping[str, Member]
    weights: Mapping[str, float]
    max_new_tokens: int
    rule: str = "canonical"
    sampling: Sampling = Sampling()
    noise: Callable[[int, bytes], float] | None = None
    min_new_tokens: int = 0
    aggregate: Aggregate = arithmetic
    penalise: Penalise = unpenalised
    seen: Counter[str] = field(default_factory=Counter)

    @property
    def drafter(self) -> str:
        return self.config.drafter

    def generate(self) -> tuple[list[bytes], list[bool], bool]:
        """The tokens, which of them all members decided, and whether the text ended by END."""
        self.text: list[bytes] = []
        self.joint: list[bool] = []
        self.rejected, held = 0.2, 0
        self.first_token()
        while not self.is_over():
            most = self.config.max_tokens
            shorter = (most - min(3, most)) * min(1.0, self.rejected / 0.65)
            wanted = held + most - round(shorter)
            draft = self.draft(min(wanted, self.max_new_tokens - len(self.text)))
            if not draft:
                self.ensemble()
                self.rejected *= 0.9
                continue
            is_last = len(draft) < wanted or draft[-1][0] == END
            settled = len(draft) if is_last else self.num_settled([token for token, _ in draft])
            doubted = next((n for n in range(settled) if self.doubted(draft, n)), settled)
            held = len(draft) - settled if doubted == settled else 0
            self.seen["held back"] += held
            for token, _ in draft[:doubted]:
                self.commit(token, (self.drafter,), joint=False)
            if doubted < settled:
                self.ensemble()
            self.rejected = 0.9 * self.rejected + 0.1 * (doubted < settled)
        ended = self.text[-1] == END
        return self.text[: len(self.text) - ended], self.joint[: len(self.text) - ended], ended

    def is_over(self) -> bool:
        return len(self.text) >= self.max_new_tokens or END in self.text[-1:]

    def row(self, member: Member, text: Sequence[bytes], position: int) -> Row:
        return _going_on(member.distribution(b"".join(text)), position < self.min_new_tokens)

    def draft(self, count: int) -> list[tuple[bytes, Row]]:
        """Section 3.1: what the drafter writes by itself, and its row before each token."""
        member = self.members[self.drafter]
        ahead, text, given = replace(member), [*self.text], []
        while not member.abstains and len(given) < count and END not in text[-1:]:
            row = self.row(ahead, text, len(text))
            token = _pick(self.penalise(row, text), self.sampling, self.noise, len(text))
            given.append((token, row))
            if token != END:
                ahead.follow(b"".join(text), token, True, self.rule)
            text.append(token)
        return given

    def num_settled(self, tokens: list[bytes]) -> int:
        """Tokens in front of the last end of a word, or with enough tokens behind them."""
        text = b"".join(tokens)
        ends = [
            p for p in range(1, len(text)) if text[p : p + 1].isspace() > text[p - 1 : p].isspace()
        ]
        starts = [len(b"".join(tokens[:n])) for n in range(len(tokens))]
        return max(
            sum(start < max(ends, default=0) for start in starts), len(tokens) - LOOK_AHEAD, 0
        )

    def doubted(self, draft: list[tuple[bytes, Row]], n: int) -> bool:
        """Section 3.2: the test for OOV-like tokens and the test for consensus."""
        tokens, (token, own_row) = [token for token, _ in draft], draft[n]
        own, favourites = {self.drafter: own_row[token]}, {}
        spelled = {name: self.num_spelled(member, tokens) for name, member in self.members.items()}
        there = [m for m in self.members if not self.members[m].abstains and n <= spelled[m]]
        for name in self.verifiers(there):
            member = self.members[name]
            if n == spelled[name]:  # it cannot follow
                own[name], favourites[name] = 0.0, False
                continue
            ids, starts = self.look_ahead(member, tokens[: spelled[name]])
            start = len(b"".join(tokens[:n]))
            if start not in starts:
                self.seen["OOV-like"] += 1
                return False
            seen = replace(member, tail=ids[: starts[start]])
            row = self.row(seen, [*self.text, *tokens[:n]], len(self.text) + n)
            mine = END if token == END else member.vocabulary.token_bytes[ids[starts[start]]]
            own[name] = row.get(mine, 0.0)
            favourites[name] = mine == min(row, key=lambda t: (-row[t], t))
        return self.is_doubted(own_row, own, favourites)

    def verifiers(self, there: Iterable[str]) -> list[str]:
        """Those of the members that are there who have a say beside the drafter."""
        shares = shares_of({self.drafter, *there}, self.weights)
        return [name for name in there if name != self.drafter and shares[name] > 0.0]

    def is_doubted(self, own_row: Row, own: dict[str, float], favourites: dict[str, bool]) -> bool:
        if len(own) == 1 or (self.config.extra_gate < 1.0 and self.is_sure(own_row)):
            return False
        if all(favourites.values()) and not self.sampling.temperature:
            return False
        shares = shares_of(own, self.weights)
        mean = sum(share * own[name] for name, share in shares.items())
        return mean <= self.config.consensus

    def is_sure(self, own_row: Row) -> bool:
        return max(own_row.values()) > self.config.extra_gate

    def num_spelled(self, member: Member, tokens: list[bytes]) -> int:
        ahead = replace(member)
        for n, token in enumerate(tokens):
            ahead.follow(b"".join([*self.text, *tokens[:n]]), token, False, self.rule)
            if ahead.abstains:
                return n
        return len(tokens)

    def look_ahead(self, member: Member, tokens: list[bytes]) -> tuple[list[int], dict[int, int]]:
        """A verifier's ids for text and draft, and which of them start where in the draft."""
        length, encode = member.vocabulary.token_bytes, member.vocabulary.encoder.encode
        own_text = (b" " if member.lead else b"") + b"".join(self.text)
        if self.rule == "append":
            ids = [*member.tail, *(i for token in tokens for i in encode(token))]
        else:
            kept = [*member.tail]
            while len(b"".join(length[i] for i in kept)) > window_start(own_text):
                kept.pop()
            offset = len(b"".join(length[i] for i in kept))
            ids = [*kept, *encode(own_text[offset:] + b"".join(tokens))]
        starts = [len(b"".join(length[i] for i in ids[:n])) for n in range(len(ids) + 1)]
        return ids, {start - len(own_text): n for n, start in enumerate(starts)}

    def first_token(self) -> None:
        """All read the prompt; the drafter's favourite stands in for everybody's own token."""
        rows = {name: self.row(member, [], 0) for name, member in self.members.items()}
        row = self.penalise(rows[self.drafter], [])
        token = _pick(row, self.sampling, self.noise, 0)
        own, tops = {self.drafter: rows[self.drafter].get(token, 0.0)}, {}
        for name in self.verifiers(rows):
            own[name] = rows[name].get(token, 0.0)
            tops[name] = min(rows[name], key=lambda t, row=rows[name]: (-row[t], t)) == token
        if self.is_doubted(rows[self.drafter], own, tops):
            self.ensemble()
        else:
            self.commit(token, (self.drafter,), joint=True)

    def ensemble(self) -> None:
        """Section 3.3: every member's row after the text so far; sharper where none has half."""
        position, guard = len(self.text), self.config.conflict_guard
        rows = {
            n: self.row(m, self.text, position) for n, m in self.members.items() if not m.abstains
        }
        winner, owners = decide(
            rows,
            self.weights,
            position,
            self.sharpened,
            guard=self.drafter if guard is True else guard,
            sampling=self.sampling,
            noise=self.noise,
            penalise=lambda combined: self.penalise(combined, self.text),
        )
        self.commit(winner, owners, joint=len(rows) > 1)

    def sharpened(self, rows: Votes, weights: Mapping[str, float]) -> tuple[Distribution, Votes]:
        """Where no token has half of the mean: the geometric mean, or prefixes merged."""
        is_smooth = max(arithmetic(rows, weights)[0].values()) < 0.5
        if is_smooth and self.config.sharpen == "geometric":
            return geometric(rows, weights)
        combined, votes = self.aggregate(rows, weights)
        if not is_smooth or self.config.sharpen == "none":
            return combined, votes
        own, above = rows.get(self.drafter, combined), self.config.merge_lambda
        self.seen["merged"] += 1
        merged = {
            t: sum(combined[u] for u in combined if u.startswith(t))
            for t, p in combined.items()
            if t and p > above and own.get(t)
        }
        return {**combined, **merged}, votes

    def commit(self, token: bytes, owners: Iterable[str], joint: bool) -> None:
        if token != END:
            for name, member in self.members.items():
                member.follow(b"".join(self.text), token, name in owners, self.rule)
        self.text.append(token)
        self.joint.append(joint)
