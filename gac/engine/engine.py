"""The loop that drives many sequences at once over members that answer in their own time.

One writer: the engine's thread owns every sequence.  A turn takes in what has arrived, advances
every generator that can go on, and only then gives each idle member one batch of all open queries
for it; so batches do not split into halves, and no timer is needed.  Knows nothing of HTTP.
"""

import logging
import threading
import time
from collections.abc import Callable
from collections.abc import Sequence as Many
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from gac.core import ErrorEvent, FinishReason, GenerateRequest
from gac.decoding.decide import Decider
from gac.decoding.flow import Decide, Strategy
from gac.engine.ensemble import Ensemble
from gac.engine.metrics import Metrics
from gac.engine.scheduler import Scheduler
from gac.engine.sequence import Emit, Sequence
from gac.errors import (
    EngineOverloaded,
    EngineUnavailable,
    GacError,
    MemberError,
    MemberLost,
    RequestError,
)
from gac.members.member import Rows

logger = logging.getLogger(__name__)

MakeStrategy = Callable[[tuple[str, ...], Decide], Strategy]
"""From the members that take part and a way to decide to the strategy of one sequence."""


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """How much runs at once: sequences, those that may wait, and new ids in one batch."""

    max_sequences: int = 64
    max_queued: int = 1024
    max_batch_tokens: int = 2048


class Engine:
    """Writes texts with an ensemble; `submit` and `abort` may be called from any thread."""

    def __init__(
        self, ensemble: Ensemble, make_strategy: MakeStrategy, limits: EngineLimits | None = None
    ) -> None:
        self.ensemble = ensemble
        self.metrics = Metrics(batches=dict.fromkeys(ensemble.members, 0))
        self._make_strategy = make_strategy
        self._limits = limits or EngineLimits()
        capacities = {n: m.facts.max_kv_tokens for n, m in ensemble.members.items()}
        self._scheduler = Scheduler(capacities, ensemble.catch_up_ids, self._limits.max_sequences)
        self._by_id: dict[str, Sequence] = {}
        self._busy_since: dict[str, float] = {}
        self._released: list[int] = []
        self._next_number = 0
        self._num_open = 0
        self._broken: GacError | None = None
        self._inbox: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._admission = threading.Lock()

    # Called from any thread

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def submit(self, requests: Many[GenerateRequest], emit: Emit) -> None:
        """Take in requests, all or none; their events go to `emit`, on the engine's thread.

        Raises: EngineOverloaded if too many wait; RequestError if they are more than may ever wait;
        EngineUnavailable if a member was lost.
        """
        limit = self._limits.max_sequences + self._limits.max_queued
        if len(requests) > limit:
            raise RequestError(
                f"{len(requests)} texts at once exceed this server's limit of {limit}"
            )
        with self._admission:
            if self._broken or self._stopping:
                reason = self._broken.message if self._broken else "the engine is shutting down"
                raise EngineUnavailable(reason, code="engine_unavailable")
            if self._num_open + len(requests) > limit:
                raise EngineOverloaded(
                    f"{self._num_open} sequences are running or waiting, the limit is {limit}",
                    code="engine_overloaded",
                )
            self._num_open += len(requests)
            # Under the lock: what is put after the engine has begun to stop would be lost.
            self._inbox.put(lambda: self._take_in(requests, emit))

    def abort(self, request_id: str) -> None:
        """End a request early; nothing happens if it has ended already."""
        self._inbox.put(lambda: self._abort(request_id))

    def stop(self) -> None:
        """Abort what runs and end the thread."""
        with self._admission:
            self._stopping = True
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
        return self._num_open - len(self._scheduler.running)

    @property
    def silent_s(self) -> float:
        """For how many seconds the slowest member to answer has been at work on its batch."""
        return max((time.monotonic() - at for at in list(self._busy_since.values())), default=0.0)

    @property
    def broken(self) -> GacError | None:
        """Why the engine can do no more work, if so."""
        return self._broken

    # The engine's thread

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._turn()
            except Exception as error:  # a defect of ours: say so and fail what runs, do not hang
                logger.exception("the engine failed")
                self._break(MemberError(f"the engine failed: {error}"))
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
            # Admitted again with the rows that arrived while it was evicted: nobody will be asked.
            self._advance_all()
            self._evict_and_admit()
        self._dispatch()

    def _drain(self) -> None:
        while True:
            try:
                self._inbox.get_nowait()()
            except Empty:
                return

    def _take_in(self, requests: Many[GenerateRequest], emit: Emit) -> None:
        for request in requests:
            try:
                sequence = self._new_sequence(request, emit)
            except Exception as error:  # as in _guarded, but there is no sequence yet
                logger.exception("request %s cannot start", request.request_id)
                self._closed()
                emit(ErrorEvent(request.request_id, error))
                continue
            self._by_id[request.request_id] = sequence
            self._scheduler.add(sequence)
            self._guarded(sequence, sequence.start)

    def _new_sequence(self, request: GenerateRequest, emit: Emit) -> Sequence:
        ensemble = self.ensemble
        contexts = ensemble.contexts_for(request)
        decide = Decider(ensemble.weights, request.sampling, ensemble.order)
        strategy = self._make_strategy(tuple(contexts), decide)
        limits = ensemble.limits_for(request)
        tokens = ensemble.union.tokens
        self._next_number += 1
        return Sequence(self._next_number, request, contexts, limits, tokens, strategy, emit)

    def _abort(self, request_id: str) -> None:
        sequence = self._by_id.get(request_id)
        if sequence is not None:
            self.metrics.aborted += 1
            sequence.finish(FinishReason.ABORT)
            self._forget(sequence)

    def _advance_all(self) -> None:
        for sequence in list(self._scheduler.running):
            while sequence.can_go_on():
                before = sequence.num_tokens
                self._guarded(sequence, sequence.go_on)
                self.metrics.tokens += sequence.num_tokens - before

    def _guarded(self, sequence: Sequence, act: Callable[[], None]) -> None:
        """Let a sequence act; if that fails, this sequence fails and the others go on."""
        try:
            act()
        except Exception as error:
            if not isinstance(error, GacError):
                logger.exception("request %s failed", sequence.request.request_id)
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
        self._closed()

    def _closed(self) -> None:
        with self._admission:
            self._num_open -= 1

    def _evict_and_admit(self) -> None:
        for sequence in self._scheduler.evict():
            logger.info("request %s is evicted for now", sequence.request.request_id)
            sequence.forget_caches()
            self._released.append(sequence.number)
            self.metrics.evictions += 1
        self._scheduler.admit()
        self._release()

    def _release(self) -> None:
        """Let the members forget what has finished or was evicted."""
        if self._released:
            for member in self.ensemble.members.values():
                member.release(self._released)
            self._released = []

    def _dispatch(self) -> None:
        """Give every idle member one batch of all open queries for it."""
        for name, member in self.ensemble.members.items():
            if name in self._busy_since:
                continue
            batch = self._scheduler.batch(name, self._limits.max_batch_tokens)
            if not batch:
                continue
            self._busy_since[name] = time.monotonic()
            self.metrics.batches[name] += 1
            future = member.extend([extend for _, extend in batch])
            future.add_done_callback(self._on_answer(name, [sequence for sequence, _ in batch]))

    def _on_answer(
        self, member: str, sequences: list[Sequence]
    ) -> Callable[["Future[Rows]"], None]:
        """A callback, run on whatever thread, that hands the answer to the engine's own."""

        def put(future: "Future[Rows]") -> None:
            self._inbox.put(lambda: self._take_answer(member, sequences, future))

        return put

    def _take_answer(self, member: str, sequences: list[Sequence], future: "Future[Rows]") -> None:
        del self._busy_since[member]
        error = future.exception()
        if error is None:
            for sequence, rows in zip(sequences, future.result(), strict=True):
                if not isinstance(rows, MemberError):
                    sequence.answer(member, rows)
                elif not sequence.finished:
                    self._fail(sequence, rows)
            return
        if not isinstance(error, MemberError):
            error = MemberError(f"member {member!r} failed: {error}")
        logger.error("%s", error, exc_info=future.exception())
        for sequence in sequences:
            if not sequence.finished:
                self._fail(sequence, error)
        if isinstance(error, MemberLost):
            self._break(error)

    def _break(self, failure: GacError) -> None:
        """A member is gone: nothing that runs can be finished."""
        with self._admission:
            self._broken = failure
        for sequence in list(self._by_id.values()):
            if not sequence.finished:
                self._fail(sequence, failure)
