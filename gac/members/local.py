"""A member in this process: its model runs on a thread of its own."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from gac.core import Extend
from gac.errors import GacError
from gac.members.host import MemberHost
from gac.members.loader import LoadOrder, MemberLoader, Seat
from gac.members.member import Member, MemberFacts, Reply


class LocalMember:
    """A host on one worker thread, so that calls run in order and the caller does not wait."""

    def __init__(self, name: str, host: MemberHost, facts: MemberFacts) -> None:
        self._name = name
        self._host = host
        self._facts = facts
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"member-{name}")

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
        return self._worker.submit(self._host.extend, batch)

    def release(self, sequences: Iterable[int]) -> None:
        """Forget these sequences; takes effect after everything asked before."""
        self._worker.submit(self._host.release, tuple(sequences))

    def when_lost(self, tell: Callable[[GacError], None]) -> None:
        """Does nothing: a member of this process cannot be lost."""

    def close(self) -> None:
        """Finish the open calls and end the thread."""
        self._worker.shutdown()


class LocalSeedling:
    """A member of this process that is still loading."""

    def __init__(self, order: LoadOrder, worker: ThreadPoolExecutor) -> None:
        self.name = order.name
        self._loader = MemberLoader(order)
        self._loading = worker.submit(self._loader.load)

    def progress(self) -> tuple[str, float]:
        """The stage of loading and the share of it that is done."""
        return self._loader.progress

    def loaded(self) -> "Future[MemberFacts]":
        """The facts of the loaded model."""
        return self._loading

    def seat(self, seat: Seat) -> Member:
        """The member, once the union vocabulary is known."""
        facts = self._loading.result()
        return LocalMember(self.name, self._loader.seat(seat), facts)

    def close(self) -> None:
        """Give up; the thread ends when the current load does."""


def launch_local(orders: Sequence[LoadOrder]) -> list[LocalSeedling]:
    """Start to load members in this process, one after the other.

    In parallel it would fail: `from_pretrained` changes process-wide settings while it runs, and
    tied weights of one thread's model are then reported missing in another's.
    """
    worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="load")
    seedlings = [LocalSeedling(order, worker) for order in orders]
    worker.shutdown(wait=False)
    return seedlings
