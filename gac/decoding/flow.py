"""What a strategy may ask for, and the shape all strategies share.

A strategy is a generator: it yields a step and is sent the answer.  It never touches Ray, HTTP,
caches, clocks or other sequences; batching many of them is the engine's business.  It never
returns: the engine closes it when the text ends.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gac.core import Pick, Row
from gac.trace import Outcome, Why

Rows = Sequence[Row]
Decide = Callable[[Rows], Pick | None]
"""Rows of one position -> the token that is committed there; None where they list too little."""


@dataclass(frozen=True, slots=True)
class Query:
    """The distributions of these members after everything committed so far.

    Answered by one row a member, in this order; a member that abstains gives none.  `until` is a
    hint for one member: while its confidence is above it, nobody else will be asked.
    """

    members: tuple[str, ...]
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """A member's own token at some place: whether it is its favourite, and how probable it is."""

    agrees: bool
    probability: float


@dataclass(frozen=True, slots=True)
class Note:
    """How a token came about: `rows` are those it was picked from.

    `rejected` is the token (union id) it was put in place of, and `verdicts` what verifiers said.
    """

    outcome: Outcome
    why: Why
    rows: Rows
    rejected: int | None = None
    verdicts: Mapping[str, Verdict | None] = field(default_factory=dict)


Explain = Callable[[Rows, Pick], Note]
"""The rows of a commit and what was picked -> a note; called only where somebody traces."""


def together(rows: Rows, pick: Pick, why: Why = Why.ALL_ASKED) -> Note:
    """The note of a token that all these rows decided; a single row decided alone."""
    if len(rows) > 1:
        return Note(Outcome.ENSEMBLED, why, rows)
    return Note(Outcome.ALONE, Why.ONLY_ONE if why is Why.ALL_ASKED else why, rows)


@dataclass(frozen=True, slots=True)
class Commit:
    """The token that `decide` picks from these rows is appended to the sequence, for good.

    Where the rows list too little to decide, they are completed first.  Answered by no rows.
    """

    rows: Rows
    decide: Decide
    explain: Explain = together


@dataclass(frozen=True, slots=True)
class Draft:
    """What a member would write by itself after the text: up to `max_tokens` tokens.

    Answered by `Drafted`.  `decide` picks every token from the member's own row.  It stops at END,
    and is shorter where the text would be full; of a member that abstains it is empty.
    """

    member: str
    max_tokens: int
    decide: Decide


@dataclass(frozen=True, slots=True)
class Drafted:
    """A draft, nothing of it committed: its tokens, and the member's row before each of them."""

    picks: tuple[Pick, ...]
    rows: tuple[Row, ...]

    @property
    def tokens(self) -> tuple[int, ...]:
        """The union ids of the tokens."""
        return tuple(pick.token for pick in self.picks)


Judge = Callable[[Row, int], Verdict | None]
"""A row and its member's own token (union id) there -> a verdict; None if it lists too little."""


@dataclass(frozen=True, slots=True)
class Score:
    """Other members' verdicts on a draft, which they tokenise together with the end of the text.

    Answered by `Scored`.  A member judges each place where a token of its own starts with a drafted
    one.  END, which only the last token may be, is every member's own token at the end of the text.
    """

    members: tuple[str, ...]
    tokens: tuple[int, ...]
    judge: Judge


@dataclass(frozen=True, slots=True)
class Scored:
    """Verdicts on the first `num_tokens` tokens of a draft, as many as fit into all contexts.

    `verdicts[member]` has one for every token, None where the member's tokens do not start with it.
    It ends with the first token that the member cannot spell: from there on it abstains.
    What follows the draft does not change how members tokenise its first `num_final` tokens, as
    long as no token of theirs reaches across the border between two words behind these.
    """

    num_tokens: int
    num_final: int
    verdicts: Mapping[str, tuple[Verdict | None, ...]]

    def at(self, place: int) -> dict[str, Verdict | None]:
        """The verdicts on one token, of those who do not abstain there."""
        return {m: given[place] for m, given in self.verdicts.items() if place < len(given)}


Step = Query | Commit | Draft | Score
Strategy = Generator[Step, Any, None]
"""It is sent what its last step says it is answered by."""
