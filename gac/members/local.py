"""A member in this process: its model runs on a thread of its own."""

from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from gac.core import Extend
from gac.members.host import MemberHost
from gac.members.member import MemberFacts, Rows


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
