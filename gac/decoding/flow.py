"""What a strategy may ask for, and the shape all strategies share.

A strategy is a generator: it yields a step and is sent the answer.  It never touches Ray, HTTP,
caches, clocks or other sequences; batching many of them is the engine's business.  It never
returns: the engine closes it when the text ends.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from gac.core import Pick, Row

Rows = Sequence[Row]
Decide = Callable[[Rows], Pick]
"""Rows of one position -> the token that is committed there."""


@dataclass(frozen=True, slots=True)
class Query:
    """The distributions of these members after everything committed so far.

    Answered by one row a member, in this order; a member that abstains gives none.
    """

    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Commit:
    """Tokens to append to the sequence, for good; answered by no rows."""

    picks: tuple[Pick, ...]


Step = Query | Commit
Strategy = Generator[Step, Rows, None]
