"""One member's side of a sequence: its ids, what it has been told of them, and the rows it gave.

A row belongs to the ids it follows.  It does not matter whether the member was told them, drafted
them itself or scored them as a draft: the row is used once the sequence consists of those ids.
"""

from collections.abc import Sequence

from gac.core import Answer, Draft, Entries, Extend
from gac.vocabulary.alignment import ScoredIds
from gac.vocabulary.retokenize import MemberContext


class Known:
    """The ids a member should hold of one sequence (`context`), those it holds, and its rows.

    The first `context.told` ids it holds are the context's.  Those behind them are ahead of the
    text, or no longer part of it.
    """

    def __init__(self, sequence: int, context: MemberContext) -> None:
        self.context = context
        self._sequence = sequence
        self._ids: list[int] = []
        self._rows: dict[int, tuple[bool, Entries]] = {}  # by the number of ids before
        self._asked: Extend | None = None

    @property
    def is_asked(self) -> bool:
        """Whether an answer is on its way."""
        return self._asked is not None

    @property
    def is_level(self) -> bool:
        """Whether the member holds all of the context's ids."""
        return self.context.told == len(self.context.ids)

    @property
    def num_missing(self) -> int:
        """Ids the member has yet to compute before it can give its row."""
        context = self.context
        return len(context.ids) - context.told + context.at_lead

    def lags(self, at_least: int) -> bool:
        """Whether it lacks so many ids, and no answer is on its way."""
        return not (self.is_asked or self.context.abstains) and self.num_missing >= at_least

    @property
    def ahead(self) -> Sequence[int]:
        """Ids the member holds beyond all of the context's."""
        return self._ids[self.context.told :] if self.is_level else ()

    def row(self, endless: bool) -> Entries | None:
        """The distribution after the context's ids, if it is here and they spell the text."""
        if not self.is_level or self.context.abstains:
            return None
        was_endless, entries = self._rows.get(self.context.told, (None, None))
        return entries if was_endless is endless else None

    def ask(
        self,
        num_endless: int,
        draft: Draft | None = None,
        scored: ScoredIds = ((), ()),
        dense: bool = False,
        entries: tuple[int, ...] = (),
    ) -> Extend:
        """The message that asks for the row after the context's ids.

        `draft` lets the member draft tokens after it; `scored` are ids beyond the context's, and
        after how many of them rows are wanted, too.
        """
        context = self.context
        kept, length = context.told, len(context.ids)
        tail: tuple[int, ...] = tuple(context.ids[kept:])
        positions: tuple[int, ...] = (length,)
        dummy = context.vocabulary.dummy_space if context.at_lead else None
        if dummy is not None:
            tail, positions = (*tail, dummy), (length, length + 1)
        elif scored[0]:
            tail += scored[0]
            positions += tuple(length + end for end in scored[1])
        lead = context.at_lead
        context.told = length
        return self._note(
            Extend(self._sequence, kept, tail, positions, lead, num_endless, dense, entries, draft)
        )

    def ask_again(self, num_endless: int, dense: bool, entries: tuple[int, ...]) -> Extend:
        """The message that asks for more entries of a row that is here; it tells nothing new."""
        length, kept = len(self.context.ids), len(self._ids)
        lead = self.context.at_lead
        positions = (length, length + 1) if lead and kept > length else (length,)
        item = Extend(self._sequence, kept, (), positions, lead, num_endless, dense, entries)
        self._asked = item
        return item

    def catch_up(self, budget: int) -> Extend:
        """The message that tells at most `budget` ids more and asks for no row."""
        context = self.context
        kept, context.told = context.told, min(context.told + budget, len(context.ids))
        return self._note(Extend(self._sequence, kept, tuple(context.ids[kept : context.told]), ()))

    def tell_ahead(
        self,
        ids: list[int],
        budget: int,
        positions: tuple[int, ...],
        num_endless: int,
        dense: bool = False,
        entries: tuple[int, ...] = (),
        draft: Draft | None = None,
    ) -> Extend:
        """The message that asks for rows after so many of `ids` as each of `positions` says.

        The ids may go beyond the context's, and differ from them towards the end.  At most `budget`
        are told at a time, and while some remain unsaid nothing is asked for.
        """
        kept, context = self.num_held(ids), self.context
        told = ids[: kept + budget]
        context.told = num_common(told, context.ids)
        tail = tuple(told[kept:])
        if len(told) < len(ids):
            return self._note(Extend(self._sequence, kept, tail, ()))
        return self._note(
            Extend(
                self._sequence,
                kept,
                tail,
                positions,
                num_endless=num_endless,
                dense=dense,
                entries=entries,
                draft=draft,
            )
        )

    def num_held(self, ids: list[int]) -> int:
        """How many of these ids the member holds."""
        return num_common(self._ids, ids)

    def row_after(self, ids: list[int], endless: bool) -> Entries | None:
        """The distribution after these ids, if it is here."""
        was_endless, entries = self._rows.get(len(ids), (None, None))
        return entries if was_endless is endless and self._ids[: len(ids)] == ids else None

    def _note(self, item: Extend) -> Extend:
        self._ids[item.kept :] = item.tail
        for length in [n for n in self._rows if n > item.kept or n in item.positions]:
            del self._rows[length]
        self._asked = item
        return item

    def answer(self, item: Extend, answer: Answer) -> None:
        """Take in what the member gave for an item, unless it has been forgotten since."""
        if item is not self._asked:
            return
        self._asked = None
        end = item.kept + len(item.tail)
        self._ids += answer.written
        positions = item.positions[:1] if item.lead else item.positions
        lengths = [*positions, *range(end + 1, end + 1 + len(answer.written))]
        for place, (length, row) in enumerate(zip(lengths, answer.rows, strict=False)):
            self._rows[length] = (place < item.num_endless, row)

    def commit(self, token: bytes, owned: bool) -> None:
        """Take a token into the context; what was ahead of it may now be part of it."""
        context = self.context
        context.commit(token, owned)
        while context.told < min(len(context.ids), len(self._ids)):
            if context.ids[context.told] != self._ids[context.told]:
                break
            context.told += 1
        for length in [length for length in self._rows if length < context.told]:
            del self._rows[length]

    def forget(self) -> None:
        """The member knows nothing of this sequence any more."""
        self.context.told = 0
        self._ids.clear()
        self._rows.clear()
        self._asked = None


def num_common(ids: Sequence[int], others: Sequence[int]) -> int:
    """The length of the longest common beginning."""
    start, size = 0, 64
    while ids[start : start + size] == others[start : start + size] and start < len(ids):
        start += size
    length = min(len(ids), len(others))
    return next((n for n in range(start, length) if ids[n] != others[n]), length)
