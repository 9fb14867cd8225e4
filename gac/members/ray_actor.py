"""Members as Ray actors: Ray places them, starts them and ends them.

A step is a plain Ray call (`RayMember`), or goes through sockets (`LineMember`) with equal results.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Any

import ray
import zmq
from ray.exceptions import RayActorError, RayError, RayTaskError

from gac.core import Extend
from gac.errors import GacError, MemberError, MemberLost
from gac.members.ends import Ends
from gac.members.far_end import FarEnd
from gac.members.host import MemberHost
from gac.members.loader import LoadOrder, MemberLoader, Seat
from gac.members.loss import GAP_S, SILENCE_S, Loss, hangs
from gac.members.member import Member, MemberFacts, Reply
from gac.members.transport import Exchange, Line

logger = logging.getLogger(__name__)

PING_S = 2.0
"""Between two pings of a member that is asked through Ray calls."""
PATIENCE_S = 0.5
"""How often an open ping is looked at."""
SEAT_S = 60.0
"""Limit of each call that sets up a loaded member; a large vocabulary takes seconds."""


class MemberActor:
    """The actor, which runs in a process of its own.

    Calls run one after the other, in the order they were made, on one thread; `progress` has a
    thread of its own so that it answers while the model loads.
    """

    def __init__(self, order: LoadOrder, log_level: int) -> None:
        # Into the files of Ray's session, which keep what its processes print.
        logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        logging.getLogger().setLevel(log_level)
        self._loader = MemberLoader(order)
        self._host: MemberHost | None = None

    def load(self) -> MemberFacts:
        """Load the model."""
        return self._loader.load()

    def where(self) -> tuple[str, int]:
        """Ray's id of the machine this runs on, and the number of the process."""
        return ray.get_runtime_context().get_node_id(), os.getpid()

    def seat(self, seat: Seat) -> None:
        """Make the host, for the union vocabulary."""
        self._host = self._loader.seat(seat)

    @ray.method(concurrency_group="watch")
    def progress(self) -> tuple[str, float]:
        """The stage of loading and the share of it that is done."""
        return self._loader.progress

    @ray.method(concurrency_group="watch")
    def ping(self) -> None:
        """Returns at once, even while the model computes; not if the process is stopped."""

    @ray.method(concurrency_group="life")
    def live(self) -> None:
        """Never returns: the call fails when this process dies."""
        threading.Event().wait()

    def open_line(self, ends: Ends) -> Ends:
        """Open sockets and answer batches from them, on another thread; returns their addresses."""
        assert self._host is not None
        if ends.engine_key:
            address: Any = ray.util.get_node_ip_address  # carries no types
            ends = ends.at(address())
        self._far_end = FarEnd(self._host, ends, on_defect=lambda: os._exit(1))
        return self._far_end.ends

    def extend(self, batch: Sequence[Extend]) -> Reply:
        """Answers to a batch."""
        assert self._host is not None
        return self._host.extend(batch)

    def release(self, sequences: Sequence[int]) -> None:
        """Forget these sequences."""
        assert self._host is not None
        self._host.release(sequences)


class RayMember:
    """A member whose model runs in an actor and is asked through Ray calls."""

    def __init__(self, name: str, actor: Any, facts: MemberFacts) -> None:
        self._name = name
        self._actor = actor
        self._facts = facts
        self._loss = Loss()
        self._closed = threading.Event()

        def tell_why(life: "Future[None]") -> None:
            error = life.exception()
            lost = error if isinstance(error, GacError) else MemberLost(f"{self._name!r}: {error}")
            self._loss.happen(lost)

        _future(name, actor.live.remote()).add_done_callback(tell_why)

    def watch_pulse(self) -> None:
        """Ping the member regularly; it is lost if it does not answer (a Ray call would wait)."""
        threading.Thread(target=self._watch_pulse, name=f"pulse-{self._name}", daemon=True).start()

    def _watch_pulse(self) -> None:
        while not self._closed.wait(PING_S):
            asked_at = looked_at = time.monotonic()
            ping = self._actor.ping.remote()
            while not (self._closed.is_set() or ray.wait([ping], timeout=PATIENCE_S)[0]):
                now = time.monotonic()
                if now - looked_at > GAP_S:
                    asked_at = now  # this process itself was stopped meanwhile
                looked_at = now
                if now - asked_at > SILENCE_S:
                    self._loss.happen(hangs(self._name))
                    return

    @property
    def name(self) -> str:
        """Unique in the ensemble."""
        return self._name

    @property
    def facts(self) -> MemberFacts:
        """Limits of the loaded model."""
        return self._facts

    def extend(self, batch: Sequence[Extend]) -> "Future[Reply]":
        """Tell the member what sequences consist of; get the rows that were asked for."""
        return _future(self._name, self._actor.extend.remote(batch))

    def release(self, sequences: Iterable[int]) -> None:
        """Forget these sequences; takes effect after everything asked before."""
        self._actor.release.remote(tuple(sequences))

    def when_lost(self, tell: Callable[[GacError], None]) -> None:
        """Have `tell` called, on any thread, when the actor has died or hangs."""
        self._loss.when(tell)

    def close(self) -> None:
        """End the actor's process; one that hangs is killed by its machine's raylet within 5 s."""
        self._closed.set()
        ray.kill(self._actor)


class LineMember(RayMember):
    """A member whose model runs in an actor and is asked through sockets; the same answers.

    `ends` are the addresses on this machine; with a key, the actor adds those on its own.
    """

    def __init__(
        self, name: str, actor: Any, facts: MemberFacts, exchange: Exchange, ends: Ends
    ) -> None:
        super().__init__(name, actor, facts)
        ends = _promptly(name, actor.open_line.remote(ends))
        self._line = Line(name, exchange, ends, self._loss)

    def extend(self, batch: Sequence[Extend]) -> "Future[Reply]":
        """Tell the member what sequences consist of; get the rows that were asked for."""
        return self._line.extend(batch)

    def release(self, sequences: Iterable[int]) -> None:
        """Forget these sequences; takes effect after everything asked before."""
        self._line.release(sequences)

    def close(self) -> None:
        """End the actor's process."""
        super().close()
        self._line.close()


class RaySeedling:
    """A member whose actor is starting or loading its model.

    With an `exchange` it becomes a member that is asked through sockets.
    """

    def __init__(
        self, order: LoadOrder, options: dict[str, Any], exchange: Exchange | None
    ) -> None:
        self.name = order.name
        self._exchange = exchange
        remote: Any = ray.remote  # its types do not know concurrency groups
        actor_class = remote(concurrency_groups={"watch": 1, "life": 1}, max_restarts=0)(
            MemberActor
        )
        self._actor: Any = actor_class.options(**options).remote(
            order, logging.getLogger().getEffectiveLevel()
        )
        self._loading: Future[MemberFacts] = _future(self.name, self._actor.load.remote())
        self._stage: tuple[str, float] = ("starting", 0.0)
        self._asked = self._actor.progress.remote()

    def progress(self) -> tuple[str, float]:
        """The stage of loading and the share of it that is done, as last heard."""
        done, _ = ray.wait([self._asked], timeout=0)
        if done:
            try:
                self._stage = ray.get(self._asked)
            except RayError:
                return ("lost", 0.0)
            self._asked = self._actor.progress.remote()
        return self._stage

    def loaded(self) -> "Future[MemberFacts]":
        """The facts of the loaded model."""
        return self._loading

    def seat(self, seat: Seat) -> Member:
        """The member, once the union vocabulary is known.

        Raises: MemberLost if it dies or hangs meanwhile; MemberError if it cannot take the seat.
        """
        facts = self._loading.result()
        _promptly(self.name, self._actor.seat.remote(seat))
        if self._exchange is not None:
            ends = self._exchange.ends() if self._is_here() else self._exchange.far_ends()
            try:
                return LineMember(self.name, self._actor, facts, self._exchange, ends)
            except MemberLost:
                raise
            except (OSError, zmq.ZMQError, MemberError) as error:
                logger.warning(
                    "%s: sockets cannot be used (%s); Ray calls are used instead", self.name, error
                )
        member = RayMember(self.name, self._actor, facts)
        member.watch_pulse()
        return member

    def _is_here(self) -> bool:
        """Whether the actor runs on this machine."""
        here: str = ray.get_runtime_context().get_node_id()
        there, _ = _promptly(self.name, self._actor.where.remote())
        return bool(here == there)

    def close(self) -> None:
        """End the actor's process."""
        ray.kill(self._actor)


def _promptly(name: str, reference: Any) -> Any:
    """A call's result.  Raises: MemberLost if it takes longer than SEAT_S."""
    try:
        return _future(name, reference).result(SEAT_S)
    except TimeoutError as error:  # an OSError, but not one of a socket
        raise MemberLost(
            f"member {name!r} hangs: a call that sets it up took longer than {SEAT_S:g} s"
        ) from error


def _future(name: str, reference: Any) -> "Future[Any]":
    """A future of a call's result that fails with our own errors."""
    future: Future[Any] = Future()

    def settle(done: "Future[Any]") -> None:
        error = done.exception()
        if error is None:
            future.set_result(done.result())
        else:
            future.set_exception(_translated(name, error))

    reference.future().add_done_callback(settle)
    return future


def _translated(name: str, error: BaseException) -> BaseException:
    if isinstance(error, RayActorError):
        return MemberLost(f"member {name!r} died: {_first_line(error)}")
    if isinstance(error, RayTaskError):
        cause = error.cause
        if isinstance(cause, GacError):
            return cause
        return MemberError(f"member {name!r} failed: {type(cause).__name__}: {_first_line(cause)}")
    if isinstance(error, RayError):
        return MemberError(f"member {name!r} failed: {_first_line(error)}")
    return error


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
