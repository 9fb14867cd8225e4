"""One text being written: its contexts, its open query, and what it does with a committed token."""

from collections.abc import Callable, Mapping

from gac.core import (
    END,
    ErrorEvent,
    Event,
    Extend,
    FinishEvent,
    FinishReason,
    GenerateRequest,
    Pick,
    Probs,
    Row,
    TokenEvent,
)
from gac.decoding.flow import Commit, Query, Rows, Step, Strategy
from gac.errors import GacError, MemberError
from gac.vocabulary.detokenizer import TextStream
from gac.vocabulary.retokenize import MemberContext

Emit = Callable[[Event], None]


class Sequence:
    """The state of one request; written by the engine's thread alone.

    Once started, it is in one of three states: it waits for rows of an open query, it can go on
    (every row is there), or it has finished.  `limits` are the most ids it may have at each member,
    `tokens` the union vocabulary.
    """

    def __init__(
        self,
        number: int,
        request: GenerateRequest,
        contexts: Mapping[str, MemberContext],
        limits: Mapping[str, int],
        tokens: tuple[bytes, ...],
        strategy: Strategy,
        emit: Emit,
    ) -> None:
        self.number = number
        self.request = request
        self.contexts = dict(contexts)
        self.num_tokens = 0
        self.finished = False
        self._limits = limits
        self._tokens = tokens
        self._strategy = strategy
        self._emit = emit
        self._stream = TextStream(request.stop)
        self._num_ensembled = 0
        self._query: Query | None = None
        self._rows: dict[str, Row] = {}
        self._in_flight: set[str] = set()
        self._asked: set[str] = set()
        self._prompt_tokens = {name: context.num_prompt_ids for name, context in contexts.items()}

    # What members are asked

    def wants(self, member: str) -> bool:
        """Whether the open query needs a row of this member that nobody has gone to fetch."""
        return (
            self._query is not None
            and member in self._query.members
            and member not in self._rows
            and member not in self._in_flight
            and not self.contexts[member].abstains
        )

    def lags(self, member: str, at_least: int) -> bool:
        """Whether a member lacks so many ids, though nobody waits for a row of it."""
        return (
            member in self.contexts
            and member not in self._in_flight
            and not self.contexts[member].abstains
            and self.num_missing(member) >= at_least
        )

    def num_missing(self, member: str) -> int:
        """Ids the member has yet to compute before it can give its row."""
        context = self.contexts[member]
        return len(context.ids) - context.told + context.at_lead

    def ask(self, member: str, budget: int) -> Extend:
        """The message that brings a member closer to its row, at most `budget` ids at a time.

        While ids remain unsaid no row is asked for, and the query stays open.
        """
        context = self.contexts[member]
        kept = context.told
        if self.num_missing(member) > budget:
            return self.catch_up(member, budget)
        self._in_flight.add(member)
        context.told = len(context.ids)
        tail = tuple(context.ids[kept:])
        if not context.at_lead:
            return Extend(self.number, kept, tail, (context.told,))
        dummy = context.vocabulary.dummy_space
        if dummy is None:
            return Extend(self.number, kept, tail, (context.told,), lead=True)
        positions = (context.told, context.told + 1)
        return Extend(self.number, kept, (*tail, dummy), positions, lead=True)

    def catch_up(self, member: str, budget: int) -> Extend:
        """The message that tells a member at most `budget` ids more and asks for no row."""
        self._in_flight.add(member)
        context = self.contexts[member]
        kept, context.told = context.told, min(context.told + budget, len(context.ids))
        return Extend(self.number, kept, tuple(context.ids[kept : context.told]), ())

    def answer(self, member: str, rows: Probs) -> None:
        """Take in what a member answered: one row, or none where it only caught up."""
        self._in_flight.discard(member)
        if self.finished or not len(rows):
            return
        row = Row(member, self.num_tokens, rows[0])
        self._rows[member] = row.without_end() if self._must_go_on else row

    @property
    def _must_go_on(self) -> bool:
        return self.request.ignore_eos or self.num_tokens < self.request.min_new_tokens

    def forget_caches(self) -> None:
        """After an eviction: members know nothing of this sequence any more.

        Rows, arrived or on their way, stay good: they are facts about the text, not about caches.
        """
        for context in self.contexts.values():
            context.told = 0

    # What the strategy does

    def start(self) -> None:
        """Run the strategy up to its first query."""
        self._handle(self._resume(None))

    def can_go_on(self) -> bool:
        """Whether every row of the open query is there."""
        return (
            not self.finished
            and self._query is not None
            and all(name in self._rows or self._abstains(name) for name in self._query.members)
        )

    def go_on(self) -> None:
        """Answer the open query and run the strategy up to its next one, or to the end."""
        assert self._query is not None
        self._asked.update(name for name in self._query.members if name in self._rows)
        rows = [self._rows[name] for name in self._query.members if name in self._rows]
        self._query, self._rows = None, {}
        self._handle(self._resume(rows))

    def _resume(self, rows: Rows | None) -> Step:
        """Send the strategy what it asked for; None starts it.  It goes on until it is closed."""
        try:
            return next(self._strategy) if rows is None else self._strategy.send(rows)
        except StopIteration as error:
            raise GacError("the strategy ended before the text did") from error

    def _abstains(self, member: str) -> bool:
        return self.contexts[member].abstains

    def _handle(self, step: Step) -> None:
        while isinstance(step, Commit):
            for pick in step.picks:
                self._commit(pick)
                if self.finished:
                    return
            step = self._resume(())
        if all(context.abstains for context in self.contexts.values()):
            raise MemberError("no member's vocabulary can spell the text that was written")
        self._query = step

    # What a committed token does

    def _commit(self, pick: Pick) -> None:
        """END ends the text; else bytes, text, stop strings, length: in this order."""
        asked = tuple(sorted(self._asked))
        self._asked.clear()
        if pick.token == END:
            self.finish(FinishReason.STOP)
            return
        token = self._tokens[pick.token]
        for name, context in self.contexts.items():
            context.commit(token, name in pick.owners)
        self.num_tokens += 1
        self._num_ensembled += len(asked) > 1
        text = self._stream.push(token)
        self._emit(TokenEvent(self.request.request_id, pick, asked, token, text))
        if self._stream.stopped:
            self.finish(FinishReason.STOP)
        elif self._is_full():
            self.finish(FinishReason.LENGTH)

    def _is_full(self) -> bool:
        if self.num_tokens >= self.request.max_new_tokens:
            return True
        return any(
            len(context.ids) >= self._limits[name] and not context.abstains
            for name, context in self.contexts.items()
        )

    def finish(self, reason: FinishReason) -> None:
        """Close the strategy, flush the text held back, and say so."""
        self._close()
        self._emit(
            FinishEvent(
                request_id=self.request.request_id,
                text=self._stream.flush(),
                reason=reason,
                prompt_tokens=self._prompt_tokens,
                completion_tokens=self.num_tokens,
                ensembled_tokens=self._num_ensembled,
                abstained=tuple(n for n, context in self.contexts.items() if context.abstains),
            )
        )

    def fail(self, error: Exception) -> None:
        """Close the strategy and report the error in place of an end."""
        self._close()
        self._emit(ErrorEvent(self.request.request_id, error))

    def _close(self) -> None:
        assert not self.finished
        self.finished = True
        self._query = None
        self._strategy.close()
