"""Who is let in: how many sequences are open, and whether the engine takes any at all."""

import threading
from collections.abc import Callable

from gac.errors import EngineOverloaded, EngineUnavailable, GacError, RequestError


class Admission:
    """Counts open sequences against a limit; any thread may call it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self.num_open = 0
        self.broken: GacError | None = None
        self.stopping = False

    def check(self, count: int) -> None:
        """Whether so many sequences would be let in now.

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
                f"{self.num_open} sequences are running or waiting, the limit is {self._limit}",
                code="engine_overloaded",
            )

    def enter(self, count: int, hand_over: Callable[[], None]) -> None:
        """Let so many sequences in, all or none, and hand them over; raises what `check` does."""
        with self._lock:
            self.check(count)
            self.num_open += count
            # Under the lock: what is put after the engine has begun to stop would be lost.
            hand_over()

    def leave(self) -> None:
        """A sequence has ended."""
        with self._lock:
            self.num_open -= 1

    def stop(self) -> None:
        """Let nobody in any more: the engine ends."""
        with self._lock:
            self.stopping = True

    def break_off(self, failure: GacError) -> None:
        """Let nobody in any more: the engine can do no work."""
        with self._lock:
            self.broken = failure
