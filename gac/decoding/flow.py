"""What a strategy may ask for, and the shape all strategies share.

A strategy is a generator: it yields a step and is sent the answer.  It never touches Ray, HTTP,
caches, clocks or other sequences; batching many of them is the engine's business.  It never
returns: the engine closes it when the text ends.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from gac.core import Pick, Row

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
class Commit:
    """The token that `decide` picks from these rows is appended to the sequence, for good.

    Where the rows list too little to decide, they are completed first.  Answered by no rows.
    """

    rows: Rows
    decide: Decide


Step = Query | Commit
Strategy = Generator[Step, Rows, None]
