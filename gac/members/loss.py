"""The loss of a member, which calls back once, also for callbacks that are added later."""

import threading
from collections.abc import Callable

from gac.errors import GacError, MemberLost

SILENCE_S = 5.0
"""A member that sends nothing for so long hangs: five heartbeats are missing."""
GAP_S = 2.5
"""If the last check is older, this process itself was stopped, and silence proves nothing."""


def hangs(name: str) -> MemberLost:
    """The error for a member whose process is there and silent."""
    return MemberLost(f"member {name!r} hangs: no heartbeat for {SILENCE_S:g} s")


class Loss:
    """Whether a member is lost, and why; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._error: GacError | None = None
        self._tells: list[Callable[[GacError], None]] = []

    def happen(self, error: GacError) -> None:
        """Mark the member as lost; only the first reason counts."""
        with self._lock:
            if self._error is not None:
                return
            self._error = error
            tells, self._tells = self._tells, []
        for tell in tells:
            tell(error)

    def when(self, tell: Callable[[GacError], None]) -> None:
        """Have `tell` called when the member is lost, at once if it is."""
        with self._lock:
            error = self._error
            if error is None:
                self._tells.append(tell)
        if error is not None:
            tell(error)
