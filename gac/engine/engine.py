"""The loop that writes many sequences at once with members that answer at their own pace.

The engine's thread owns every sequence.  A turn takes in what has arrived, advances every sequence
that can go on, and then gives each idle member one batch of all open queries for it.  Because
batches are made last, they are as large as they can be.  Knows nothing of HTTP.
"""

import logging
import threading
from collections.abc import Callable
from collections.abc import Sequence as Many
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue

from gac.core import ErrorEvent, FinishReason, GenerateRequest
from gac.decoding.strategies import StrategyMaker
from gac.engine.admission import Admission
from gac.engine.ensemble import Ensemble
from gac.engine.limits import EngineLimits
from gac.engine.metrics import Metrics
from gac.engine.names import about
from gac.engine.opening import Opening
from gac.engine.roster import Roster
from gac.engine.scheduler import Batch, Scheduler
from gac.engine.sequence import Sequence
from gac.engine.speculation import Speculation
from gac.engine.stream import Buffer, Stream
from gac.engine.text import Sink
from gac.errors import GacError, MemberError, MemberLost
from gac.members.inbox import Inbox
from gac.members.member import Member, Reply

logger = logging.getLogger(__name__)

Revive = Callable[["Engine", Member, GacError], None]
"""Has a lost member restarted; then `welcome` or `give_up` of the engine is called."""


class Engine:
    """Writes texts with an ensemble; `stream` and `abort` may be called from any thread.

    Members that are reached through sockets need their exchange's `inbox`, and no second engine.
    With `revive`, the work of a lost member waits until it is back; else all requests fail.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        make_strategy: StrategyMaker,
        limits: EngineLimits | None = None,
        speculation: Speculation | None = None,
        inbox: Inbox | None = None,
        revive: Revive | None = None,
    ) -> None:
        self.ensemble = ensemble
        self.metrics = Metrics.of(ensemble.members)
        self._limits = limits = limits or EngineLimits()
        self.speculation = speculation
        self._opening = Opening(ensemble, make_strategy, self.metrics, speculation)
        self._admission = Admission(limits.max_sequences + limits.max_queued)
        self._scheduler = Scheduler(ensemble.portions(limits.prefill_chunk), limits.max_sequences)
        self._by_id: dict[str, Sequence] = {}
        self._released: list[int] = []
        self._inbox: Inbox = inbox or SimpleQueue()
        self.roster = Roster(ensemble.members, self._inbox)
        self._revive = revive
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    # Called from any thread

    def start(self) -> None:
        """Begin to work."""
        for member in self.ensemble.members.values():
            self._look_after(member)
        self._thread.start()

    def check_open(self, count: int) -> None:
        """Raise what `stream` would raise now for so many requests."""
        self._admission.check(count)

    def stream(self, requests: Many[GenerateRequest]) -> Stream:
        """Take in requests, all or none, and iterate over their events; see `Stream`.

        Raises: EngineOverloaded if too many wait; RequestError if they are more than may ever wait;
        EngineUnavailable if the engine is broken or stops.
        """
        buffer = Buffer((r.request_id for r in requests), lambda: self._inbox.put(lambda: None))
        self.submit(requests, buffer)
        return Stream(buffer, self.abort)

    def submit(self, requests: Many[GenerateRequest], sink: Sink) -> None:
        """Like `stream`, but events go to `sink`, on the engine's thread; raises the same."""
        take_in = partial(self._inbox.put, partial(self._take_in, requests, sink))
        self._admission.enter(len(requests), take_in)

    def abort(self, request_id: str) -> None:
        """End a request early; nothing happens if it has ended already."""
        self._inbox.put(lambda: self._abort(request_id))

    def welcome(self, member: Member) -> None:
        """A lost member was restarted; the sequences that wait for it go on."""
        self._inbox.put(lambda: self.roster.come_back(member))
        self._look_after(member)  # after `come_back`: a loss reported earlier would be ignored

    def give_up(self, failure: GacError) -> None:
        """A lost member will not come back."""
        self._inbox.put(lambda: self._break(failure))

    def stop(self) -> None:
        """Abort what runs and end the thread."""
        self._admission.stop()
        self._inbox.put(lambda: None)
        if self._thread.is_alive():
            self._thread.join()

    @property
    def num_running(self) -> int:
        """Sequences that members work on."""
        return len(self._scheduler.running)

    @property
    def num_waiting(self) -> int:
        """Sequences that wait for room."""
        return self._admission.num_open - len(self._scheduler.running)

    @property
    def members(self) -> list[Member]:
        """The members in their present lives."""
        return list(self.roster.members.values())

    def cache_usage(self, member: str) -> float:
        """The share of a member's K/V cache that running sequences take."""
        return self._scheduler.usage(member)

    @property
    def broken(self) -> GacError | None:
        """Why the engine can do no more work, if so."""
        return self._admission.broken

    # The engine's thread

    def _run(self) -> None:
        while not self._admission.stopping:
            try:
                self._turn()
            except Exception as error:  # a defect of ours: say so and fail what runs, do not hang
                logger.exception("the engine failed")
                self._break(MemberError(f"the engine failed: {error}"))
        with suppress(Exception):  # what is still in the inbox must not keep the rest from ending
            self._drain()
        for sequence in list(self._by_id.values()):
            sequence.finish(FinishReason.ABORT)
            self._forget(sequence)
        self._release()

    def _turn(self) -> None:
        """Take in what has arrived, advance all that can go on, then dispatch."""
        self._inbox.get()()
        self._drain()
        self._advance_all()
        self._evict_and_admit()
        while any(sequence.can_go_on() for sequence in self._scheduler.running):
            # A sequence was admitted whose step needs no member, as when its gate abstains.  No
            # answer would start another turn for it.
            self._advance_all()
            self._evict_and_admit()
        self._dispatch()

    def _drain(self) -> None:
        with suppress(Empty):
            while True:
                self._inbox.get_nowait()()

    def _take_in(self, requests: Many[GenerateRequest], sink: Sink) -> None:
        for request in requests:
            try:
                if self.broken is not None:  # since the request was let in
                    raise self.broken
                sequence = self._opening.sequence(request, sink)
            except Exception as error:  # as in _guarded, but there is no sequence yet
                if not isinstance(error, GacError):
                    about(logger, request.request_id).exception("it cannot start")
                self._admission.leave()
                sink.put(ErrorEvent(request.request_id, error))
                continue
            self._by_id[request.request_id] = sequence
            self._scheduler.add(sequence)
            self._guarded(sequence, sequence.start)

    def _abort(self, request_id: str) -> None:
        if (sequence := self._by_id.get(request_id)) is not None:
            self.metrics.aborted += 1
            sequence.finish(FinishReason.ABORT)
            self._forget(sequence)

    def _advance_all(self) -> None:
        for sequence in list(self._scheduler.running):
            while sequence.can_go_on():
                self._guarded(sequence, sequence.go_on)

    def _guarded(self, sequence: Sequence, act: Callable[[], None]) -> None:
        """Let a sequence act; if that fails, this sequence fails and the others go on."""
        try:
            act()
        except Exception as error:
            if not isinstance(error, GacError):
                about(logger, sequence.request.request_id).exception("it failed")
            self._fail(sequence, error)
        else:
            if sequence.finished:
                self.metrics.finished += 1
                self._forget(sequence)

    def _fail(self, sequence: Sequence, error: Exception) -> None:
        sequence.fail(error)
        self.metrics.failed += 1
        self._forget(sequence)

    def _forget(self, sequence: Sequence) -> None:
        self._scheduler.remove(sequence)
        del self._by_id[sequence.request.request_id]
        self._released.append(sequence.number)
        self._admission.leave()

    def _evict_and_admit(self) -> None:
        for sequence in self._scheduler.evict():
            about(logger, sequence.request.request_id).info("evicted, to be computed again")
            sequence.forget_caches()
            self._released.append(sequence.number)
            self.metrics.evictions += 1
        self._scheduler.admit()
        self._release()

    def _release(self) -> None:
        """Let the members forget what has finished or was evicted."""
        if self._released:
            self.roster.release(self._released)
            self._released = []

    def _dispatch(self) -> None:
        """Give every idle member one batch of all open queries for it."""
        for name in self.roster.idle():
            batch = self._scheduler.batch(name, self._limits.max_batch_tokens)
            if batch:
                take = partial(self._take_answer, name, batch)
                self.roster.ask(name, [extend for _, extend in batch], take)

    def _take_answer(
        self, member: str, batch: Batch, future: "Future[Reply]", elapsed_s: float
    ) -> None:
        error = future.exception()
        if error is None:
            reply = future.result()
            self.metrics.members[member].note(reply, elapsed_s)
            if self.speculation is not None:
                self.speculation.note(member, [item for _, item in batch], reply)
            for (sequence, item), answer in zip(batch, reply.answers, strict=True):
                if sequence.finished:
                    continue
                if isinstance(answer, MemberError):
                    self._fail(sequence, answer)
                else:
                    self._guarded(sequence, partial(sequence.answer, member, item, answer))
            return
        if isinstance(error, MemberLost):
            self._lose(self.roster.members[member], error)
            return
        if not isinstance(error, MemberError):
            error = MemberError(f"member {member!r} failed: {error}")
        logger.error("%s", error, exc_info=future.exception())
        for sequence, _ in batch:
            if not sequence.finished:
                self._fail(sequence, error)

    def _look_after(self, member: Member) -> None:
        member.when_lost(lambda error: self._inbox.put(lambda: self._lose(member, error)))

    def _lose(self, member: Member, error: GacError) -> None:
        """A member is lost: its sequences are sent to it again, once it was restarted."""
        if not self.roster.leave(member):
            return
        for sequence in list(self._by_id.values()):
            if sequence.lose_member(member.name) >= self._limits.max_losses:
                self._fail(sequence, error)  # it may be the cause of the losses
        if self._revive is not None and self.broken is None:
            self._revive(self, member, error)
        else:
            self._break(error)

    def _break(self, failure: GacError) -> None:
        """Fail all requests and accept no more: a member is gone for good, or the engine failed."""
        self._admission.break_off(failure)
        for sequence in list(self._by_id.values()):
            if not sequence.finished:
                self._fail(sequence, failure)
