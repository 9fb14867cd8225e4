"""A member in this process: its model runs on a thread of its own."""

from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from gac.core import Extend
from gac.members.host import MemberHost
from gac.members.loader import LoadOrder, MemberLoader, Seat
from gac.members.member import Member, MemberFacts, Rows


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

    def extend(self, batch: Sequence[Extend]) -> "Future[Rows]":
        """Tell the member what sequences consist of; get the rows that were asked for."""
        return self._worker.submit(self._host.extend, batch)

    def release(self, sequences: Iterable[int]) -> None:
        """Forget these sequences; takes effect after everything asked before."""
        self._worker.submit(self._host.release, tuple(sequences))

    def close(self) -> None:
        """Finish what was asked and end the thread."""
        self._worker.shutdown()


class LocalSeedling:
    """A member of this process that is still loading, on a thread of its own."""

    def __init__(self, order: LoadOrder) -> None:
        self.name = order.name
        self._loader = MemberLoader(order)
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"load-{order.name}")
        self._loading = self._worker.submit(self._loader.load)
        self._worker.shutdown(wait=False)

    def progress(self) -> tuple[str, float]:
        """The stage of loading and the share of it that is done."""
        return self._loader.progress

    def loaded(self) -> "Future[MemberFacts]":
        """What the member tells of itself, as soon as it can."""
        return self._loading

    def seat(self, seat: Seat) -> Member:
        """The member, once the union vocabulary is known."""
        facts = self._loading.result()
        return LocalMember(self.name, self._loader.seat(seat), facts)

    def close(self) -> None:
        """Give up; the thread ends with what it is doing."""
