"""Members as Ray actors: Ray places them and carries their life.

A step is a plain Ray call (`RayMember`), or goes through sockets (`LineMember`) with equal results.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Any

import ray
import zmq
from ray.exceptions import RayActorError, RayError, RayTaskError

from gac.core import Extend
from gac.errors import GacError, MemberError, MemberLost
from gac.members.host import MemberHost
from gac.members.loader import LoadOrder, MemberLoader, Seat
from gac.members.member import Member, MemberFacts, Rows
from gac.members.transport import Exchange, Line, serve_line

logger = logging.getLogger(__name__)


class MemberActor:
    """What runs in the actor's process.

    Calls run one after the other, in the order they were made, on one thread; `progress` has a
    thread of its own so that it answers while the model loads.
    """

    def __init__(self, order: LoadOrder) -> None:
        self._loader = MemberLoader(order)
        self._host: MemberHost | None = None

    def load(self) -> MemberFacts:
        """Load the model."""
        return self._loader.load()

    def node(self) -> str:
        """Ray's id of the machine this runs on."""
        node_id: str = ray.get_runtime_context().get_node_id()
        return node_id

    def seat(self, seat: Seat) -> None:
        """Take a place in the union vocabulary."""
        self._host = self._loader.seat(seat)

    @ray.method(concurrency_group="watch")
    def progress(self) -> tuple[str, float]:
        """The stage of loading and the share of it that is done."""
        return self._loader.progress

    @ray.method(concurrency_group="life")
    def live(self) -> None:
        """Never returns: whoever waits for it learns when this process has died."""
        threading.Event().wait()

    def open_line(self, down: str, up: str) -> None:
        """Answer batches from these sockets from now on, on a thread of their own."""
        assert self._host is not None
        serve_line(self._host, down, up)

    def extend(self, batch: Sequence[Extend]) -> Rows:
        """Rows for a batch."""
        assert self._host is not None
        return self._host.extend(batch)

    def release(self, sequences: Sequence[int]) -> None:
        """Forget these sequences."""
        assert self._host is not None
        self._host.release(sequences)


class RayMember:
    """The near end of an actor: the same member as `LocalMember`, elsewhere."""

    def __init__(self, name: str, actor: Any, facts: MemberFacts) -> None:
        self._name = name
        self._actor = actor
        self._facts = facts

    @property
    def name(self) -> str:
        """Unique in the ensemble."""
        return self._name

    @property
    def facts(self) -> MemberFacts:
        """Limits of the loaded model."""
        return self._facts

    def extend(self, batch: Sequence[Extend]) -> "Future[Rows]":
        """Tell the member what sequences consist of; get the rows that were asked for."""
        return _future(self._name, self._actor.extend.remote(batch))

    def release(self, sequences: Iterable[int]) -> None:
        """Forget these sequences; takes effect after everything asked before."""
        self._actor.release.remote(tuple(sequences))

    def when_lost(self, tell: Callable[[GacError], None]) -> None:
        """Have `tell` called, on a thread of Ray's, when the actor has died."""

        def tell_why(life: "Future[None]") -> None:
            error = life.exception()
            tell(error if isinstance(error, GacError) else MemberLost(f"{self._name!r}: {error}"))

        _future(self._name, self._actor.live.remote()).add_done_callback(tell_why)

    def close(self) -> None:
        """End the actor's process."""
        ray.kill(self._actor)


class LineMember(RayMember):
    """An actor on this machine, asked through sockets rather than Ray calls; the same answers."""

    def __init__(self, name: str, actor: Any, facts: MemberFacts, exchange: Exchange) -> None:
        super().__init__(name, actor, facts)
        self._line = Line(name, exchange)
        _future(name, actor.open_line.remote(self._line.down, self._line.up)).result()
        self.when_lost(self._line.lose)

    def extend(self, batch: Sequence[Extend]) -> "Future[Rows]":
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

    With an `exchange` it becomes a member that is asked through sockets, if it is on this machine.
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
        self._actor: Any = actor_class.options(**options).remote(order)
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
        """What the member tells of itself, as soon as it can."""
        return self._loading

    def seat(self, seat: Seat) -> Member:
        """The member, once the union vocabulary is known."""
        facts = self._loading.result()
        _future(self.name, self._actor.seat.remote(seat)).result()
        if self._exchange is not None and self._is_here():
            try:
                return LineMember(self.name, self._actor, facts, self._exchange)
            except (zmq.ZMQError, MemberError) as error:
                logger.warning("%s: no sockets (%s), plain Ray calls instead", self.name, error)
        return RayMember(self.name, self._actor, facts)

    def _is_here(self) -> bool:
        """Whether the actor runs on this machine."""
        here: str = ray.get_runtime_context().get_node_id()
        there: str = ray.get(self._actor.node.remote())
        return here == there

    def close(self) -> None:
        """End the actor's process."""
        ray.kill(self._actor)


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
