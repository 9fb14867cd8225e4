"""Drafting: a member picks tokens from its own rows and appends its own ids.

The engine checks every token of a draft, so nothing here decides what a text becomes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from gac.core import END, Answer, Entries, Extend, Row
from gac.decoding.decide import Decider
from gac.decoding.support import TokenOrder
from gac.errors import MemberError
from gac.model.listing import Lister


class Writing:
    """One item of a batch while it is answered: its rows so far, and the ids written ahead."""

    def __init__(self, item: Extend, rows: list[Entries] | MemberError) -> None:
        self.item = self.last = item
        self.rows: list[Entries] = []
        self.written: list[int] = []
        self.stopped = item.draft is None
        self._error: MemberError | None = None
        self.take(rows)

    def take(self, rows: list[Entries] | MemberError) -> None:
        """Add the rows of the last item; an error ends the draft but keeps what came before."""
        if not isinstance(rows, MemberError):
            self.rows += rows
            return
        self.stopped = True
        if self.written:
            self.written.pop()
        else:
            self._error = rows

    def answer(self) -> Answer | MemberError:
        """The answer to the engine."""
        return self._error or Answer(tuple(self.rows), tuple(self.written))


@dataclass(frozen=True)
class Drafter:
    """Picks from one member's rows.

    `own_ids` int32 [V] holds the member's own id for a union id, -1 where it has none; `limit` is
    the most ids a sequence may have.
    """

    name: str
    order: TokenOrder
    own_ids: NDArray[np.int32]
    limit: int
    weights: Mapping[str, float] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", {self.name: 1.0})

    def goes_on(self, writing: Writing, lister: Lister) -> bool:
        """Whether there is one more token to write; if so `writing.last` says what to compute."""
        if not writing.stopped:
            own_id = self._next_id(writing, lister)
            writing.stopped = own_id is None
            if own_id is not None:
                writing.written.append(own_id)
                writing.last = _followed_by(writing, own_id)
        return not writing.stopped

    def _next_id(self, writing: Writing, lister: Lister) -> int | None:
        draft, entries = writing.item.draft, writing.rows[-1]
        assert draft is not None
        length = writing.last.kept + len(writing.last.tail)
        row = Row(self.name, draft.position + len(writing.written), entries)
        is_full = len(writing.written) >= draft.max_tokens or length >= self.limit
        if is_full or not row.confidence > draft.until:
            return None
        decide = Decider(self.weights, draft.sampling, self.order)
        pick = decide([row])
        if pick is None:  # listed entries do not decide it; the full row is still here
            recalled = lister.recall(replace(_same_again(writing), dense=True))
            pick = decide([replace(row, entries=recalled[0])]) if recalled else None
        if pick is None or pick.token == END:
            return None
        own_id = int(self.own_ids[pick.token])
        return own_id if own_id >= 0 else None


def _same_again(writing: Writing) -> Extend:
    """An item that asks for the last distribution again."""
    last = writing.last
    length = last.kept + len(last.tail)
    return replace(last, kept=length, tail=(), positions=(length,), draft=None)


def _followed_by(writing: Writing, own_id: int) -> Extend:
    """The item that tells one id more and asks for the row after it."""
    length = writing.last.kept + len(writing.last.tail)
    return replace(
        writing.item,
        kept=length,
        tail=(own_id,),
        positions=(length + 1,),
        num_endless=max(0, writing.item.num_endless - len(writing.rows)),
        draft=None,
    )
