"""That a member is lost: told once, to everybody, also to those who ask later."""

import threading
from collections.abc import Callable

from gac.errors import GacError, MemberLost

SILENCE_S = 5.0
"""A member that has not been heard of for so long hangs: five heartbeats, each cheap to send."""
GAP_S = 2.5
"""Who has not looked for so long was stopped itself, and may not judge by what it missed."""


def hangs(name: str) -> MemberLost:
    """The error for a member whose process is there and silent."""
    return MemberLost(f"member {name!r} hangs: no heartbeat for {SILENCE_S:g} s")


class Loss:
    """Whether one life of a member has ended, and why; any thread may tell and ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._error: GacError | None = None
        self._tells: list[Callable[[GacError], None]] = []

    def happen(self, error: GacError) -> None:
        """The member is lost; only the first reason counts."""
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
