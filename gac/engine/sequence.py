"""One text being written: its contexts, its open query, and what it does with a committed token."""

from collections.abc import Mapping
from dataclasses import replace
from time import monotonic, perf_counter

from gac.core import END, Answer, Extend, FinishReason, GenerateRequest, Pick, Row
from gac.decoding.flow import Commit, Drafted, Query, Rows, Scored, Step, Strategy
from gac.decoding.penalties import History
from gac.engine.ahead import Ahead
from gac.engine.completion import SHORT, Completion, Listing, complete
from gac.engine.drafted import Outlook, Place, open_outlook
from gac.engine.known import Known
from gac.engine.metrics import Metrics
from gac.engine.overlap import Overlap
from gac.engine.picks import Picks
from gac.engine.speculation import Drafts
from gac.engine.text import Sink, Text
from gac.engine.token_facts import FactFinder, TokenFacts
from gac.errors import GacError, MemberError
from gac.vocabulary.retokenize import MemberContext
from gac.vocabulary.union import UnionVocabulary


class Sequence:
    """The state of one request; written by the engine's thread alone.

    Once started, it waits for rows of its open step or for its reader, can go on, or has finished.
    `limits` are the most ids it may have at each member.  `drafts`, where given, lets one member
    write ahead of steps that ask all members.  `listing` is what every row is asked to list.
    `fact_finder` tells what the request wants to know of tokens; penalties go by `history`.
    """

    def __init__(
        self,
        number: int,
        request: GenerateRequest,
        contexts: Mapping[str, MemberContext],
        limits: Mapping[str, int],
        union: UnionVocabulary,
        strategy: Strategy,
        sink: Sink,
        metrics: Metrics,
        drafts: Drafts | None = None,
        listing: Listing = SHORT,
        fact_finder: FactFinder | None = None,
        history: History | None = None,
    ) -> None:
        self.number = number
        self.request = request
        self.contexts = dict(contexts)
        self._known = {name: Known(number, context) for name, context in contexts.items()}
        self._limits = limits
        self._union = union
        self._strategy = strategy
        self._metrics = metrics
        self._listing = listing
        self._fact_finder = fact_finder or FactFinder()
        self._ahead = Ahead(request, self._known, limits, union, drafts)
        self._overlap = Overlap(metrics)
        self._picks = Picks(history)
        self._step: Query | Completion | Outlook | None = None
        self._asked: set[str] = set()
        self._num_losses = 0
        prompt_tokens = {name: context.num_prompt_ids for name, context in contexts.items()}
        self._text = Text(request, prompt_tokens, sink)

    @property
    def num_tokens(self) -> int:
        """Tokens committed so far."""
        return self._text.num_tokens

    def note_admitted(self) -> None:
        """It runs from now on; the first time counts."""
        self._text.admitted_at = self._text.admitted_at or monotonic()

    @property
    def is_decoding(self) -> bool:
        """Whether it has tokens, and none are left that are forced."""
        return self.num_tokens > 0 and self._text.num_written >= 0

    @property
    def finished(self) -> bool:
        """Whether the text has ended, well or badly."""
        return self._text.ended

    # What members are asked

    def wants(self, member: str) -> bool:
        """Whether to send this member a message: the open step needs it, or it may draft ahead."""
        if self._step is None or member not in self._known or self._known[member].is_asked:
            return False
        is_needed = member in self._step.members and self._lacks(member)
        return (is_needed and not self._waits_for_draft(member)) or self._overlap.wants(member)

    def _outlook(self, member: str) -> Outlook | None:
        """The draft that the member writes or verifies now, if any."""
        if self._overlap.wants(member):
            return self._overlap.open
        if isinstance(self._step, Outlook) and member in self._step.members:
            return self._step
        return None

    def _lacks(self, member: str) -> bool:
        """Whether the open step waits for this member's row."""
        if self.contexts[member].abstains:
            return False
        if isinstance(self._step, Outlook):
            return self._step.lacks(member)
        row = self._row(member)
        return row is None or (isinstance(self._step, Completion) and self._step.lacks(row))

    def _row(self, member: str) -> Row | None:
        entries = self._known[member].row(self._num_endless > 0)
        return None if entries is None else Row(member, self.num_tokens, entries)

    @property
    def _num_endless(self) -> int:
        """For how many tokens from here on the text must not end."""
        return self.request.num_endless(self.num_tokens)

    def _waits_for_draft(self, member: str) -> bool:
        drafter = self._ahead.drafter
        return drafter is not None and member != drafter and self._lacks(drafter)

    def lags(self, member: str, at_least: int) -> bool:
        """Whether a member lacks so many ids, though no row of it is waited for."""
        known = self._known.get(member)
        return known is not None and known.lags(at_least)

    def num_missing(self, member: str) -> int:
        """Ids the member has yet to compute before it can give its row."""
        is_over = isinstance(self._step, Completion)
        further = 0 if is_over else self._ahead.num_further(self.num_tokens)
        outlook, known = self._outlook(member), self._known[member]
        return further + (outlook.num_missing(member) if outlook else known.num_missing)

    def num_slots(self, member: str) -> int:
        """How many K/V slots of a member the sequence may need for its next step."""
        length = len(self.contexts[member].ids) + 1
        slots = length + min(
            self._ahead.reach(self.num_tokens), max(0, self._limits[member] - length)
        )
        outlooks = (one for one in (self._step, self._overlap.open) if isinstance(one, Outlook))
        return max([slots, *(outlook.num_slots(member) for outlook in outlooks)])

    def ask(self, member: str, budget: int) -> Extend:
        """The message that brings a member closer to its row, at most `budget` ids at a time.

        While ids remain unsaid no row is asked for, and the step stays open.
        """
        known, step = self._known[member], self._step
        if (outlook := self._outlook(member)) is not None:
            return outlook.ask(member, budget)
        if isinstance(step, Completion) and self._row(member) is not None:
            return known.ask_again(self._num_endless, step.dense, step.entries)
        if known.num_missing > budget:
            return known.catch_up(budget)
        if isinstance(step, Completion):  # its row was lost to an eviction
            return known.ask(self._num_endless, dense=True)
        assert isinstance(step, Query)
        return self._ahead.ask(member, step, budget, self.num_tokens, self._listing)

    def catch_up(self, member: str, budget: int) -> Extend:
        """The message that tells a member at most `budget` ids more and asks for no row."""
        return self._known[member].catch_up(budget)

    def answer(self, member: str, item: Extend, answer: Answer) -> None:
        """Take in what a member answered: rows, or none where it only caught up."""
        self._known[member].answer(item, answer)
        for outlook in (self._step, self._overlap.open):
            if isinstance(outlook, Outlook):
                outlook.take()

    def forget_caches(self) -> None:
        """After an eviction: members know nothing of this sequence any more."""
        for known in self._known.values():
            known.forget()

    def lose_member(self, member: str) -> int:
        """Forget what a lost member holds; returns how many were lost while they computed this."""
        if member in self._known:
            self._num_losses += self._known[member].is_asked
            self._known[member].forget()
        return self._num_losses

    # What the strategy does

    def start(self) -> None:
        """Run the strategy up to its first query."""
        if not self.request.most_tokens:
            return self.finish(FinishReason.LENGTH)
        self._handle(self._resume(None))

    def can_go_on(self) -> bool:
        """Whether every row of the open step is there, and the reader keeps up."""
        return (
            not self.finished
            and self._step is not None
            and not any(self._lacks(name) for name in self._step.members)
            and not self._text.is_held_back()
        )

    def go_on(self) -> None:
        """Answer the open step and run the strategy up to its next one, or to the end."""
        assert self._step is not None
        step, self._step = self._step, None
        if isinstance(step, Outlook):
            self._handle(self._resume(step.result))
            return
        rows = [row for name in step.members if (row := self._row(name)) is not None]
        self._asked.update(row.member for row in rows)
        if not isinstance(step, Completion):
            self._handle(self._resume(rows))
        elif self._settle(replace(step.commit, rows=rows), step):
            self._handle(self._resume(()))

    def _resume(self, given: Rows | Drafted | Scored | None) -> Step:
        """The strategy's next step; `given` answers its last one, and None starts it."""
        try:
            return self._strategy.send(given)
        except StopIteration as error:
            raise GacError("the strategy returned before the text was finished") from error

    def _handle(self, step: Step) -> None:
        """Carry out commits, and open the next step that members answer."""
        while isinstance(step, Commit):
            if not self._settle(step, None):
                return
            step = self._resume(())
        if all(context.abstains for context in self.contexts.values()):
            raise MemberError("no member's vocabulary can spell the text written so far")
        at = (self.num_tokens, self._num_endless, self._picks, self._metrics, self._listing)
        place = Place(self.request, self._known, self._limits, self._union, *at)
        self._overlap.note(step, place)
        if not isinstance(step, Query):
            self._ahead.leave_to_the_strategy()
            self._step = open_outlook(step, place)
            return
        self._step = step
        self._ahead.begin(step, self.num_tokens, self._num_endless > 0)

    def _settle(self, commit: Commit, tried: Completion | None) -> bool:
        """Commit the token picked from the rows, or ask for more entries; whether to go on."""
        self._asked.update(row.member for row in commit.rows)
        started = perf_counter()
        pick = commit.decide(commit.rows)
        decided = perf_counter()
        self._metrics.combine_s += decided - started
        facts = None if pick is None else self._fact_finder.facts(commit, pick, self._asked)
        if pick is None or facts is None:
            self._step = complete(commit, tried)
            self._metrics.note_completion(self._step.dense)
            return False
        self._asked.clear()
        self._commit(pick, facts)
        self._metrics.commit_s += perf_counter() - decided
        return not self.finished

    # What a committed token does

    def _commit(self, pick: Pick, facts: TokenFacts) -> None:
        """END ends the text; else bytes, text, stop strings, length: in this order."""
        if pick.token == END:
            self.finish(FinishReason.STOP, facts)
            return
        self._picks.commit(pick)
        token = self._union.tokens[pick.token]
        self._ahead.commit(token, pick.owners)
        self._text.add(pick, token, facts)
        if self._text.num_written > 0:
            self._metrics.note_token(facts.asked, pick.owners)
        elif self._text.num_written == 0:
            self._text.begin_answer(self.contexts)
        if self._text.stopped:
            self.finish(FinishReason.STOP)
        elif self._is_full():
            self._text.check_scored()
            self.finish(FinishReason.LENGTH)

    def _is_full(self) -> bool:
        if self.num_tokens >= self.request.most_tokens:
            return True
        return any(one.fills(self._limits[name]) for name, one in self.contexts.items())

    def finish(self, reason: FinishReason, facts: TokenFacts | None = None) -> None:
        """Close the strategy and end the text; `told` is of END, if it was picked."""
        self._close()
        abstained = tuple(n for n, context in self.contexts.items() if context.abstains)
        self._text.finish(reason, abstained, facts or TokenFacts())

    def fail(self, error: Exception) -> None:
        """Close the strategy and report the error in place of an end."""
        self._close()
        self._text.fail(error)

    def _close(self) -> None:
        self._step = None
        self._strategy.close()
