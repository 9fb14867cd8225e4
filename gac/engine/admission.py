"""Admission control: how many sequences are open, and whether the engine accepts any."""

import threading
from collections.abc import Callable

from gac.errors import EngineOverloaded, EngineUnavailable, GacError, RequestError


class Admission:
    """Counts open sequences against a limit; thread-safe."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self.num_open = 0
        self.broken: GacError | None = None
        self.stopping = False

    def check(self, count: int) -> None:
        """Check whether so many sequences would be accepted now.

        Raises: EngineOverloaded if too many wait; RequestError if they are more than may ever wait;
        EngineUnavailable if the engine is broken or stops.
        """
        if count > self._limit:
            raise RequestError(
                f"messages_list: {count} sequences at once exceed this server's limit of "
                f"{self._limit}",
                param="messages_list",
            )
        if self.broken or self.stopping:
            reason = self.broken.message if self.broken else "the engine is shutting down"
            raise EngineUnavailable(reason, code="engine_unavailable")
        if self.num_open + count > self._limit:
            raise EngineOverloaded(
                f"{self.num_open} sequences are running or waiting, of at most {self._limit}; "
                f"{count} more do not fit",
                code="engine_overloaded",
            )

    def enter(self, count: int, hand_over: Callable[[], None]) -> None:
        """Accept so many sequences, all or none, and call `hand_over`; raises what `check` does."""
        with self._lock:
            self.check(count)
            self.num_open += count
            # Under the lock, so that nothing is put after the engine has begun to stop.
            hand_over()

    def leave(self) -> None:
        """A sequence has ended."""
        with self._lock:
            self.num_open -= 1

    def stop(self) -> None:
        """Accept nothing any more: the engine is stopping."""
        with self._lock:
            self.stopping = True

    def break_off(self, failure: GacError) -> None:
        """Accept nothing any more: the engine is broken."""
        with self._lock:
            self.broken = failure
