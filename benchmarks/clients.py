"""Clients that read tokens as they come, each a thread with a stream of its own.

Closed loop: a client sends its next request when the last has ended.  Open loop: requests arrive
by chance, whether or not others have ended.
"""

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.rounds import percentile
from gac.core import ErrorEvent, GenerateRequest, TokenEvent
from gac.engine.engine import Engine

PERCENTS = (50, 99)


@dataclass(frozen=True)
class Heard:
    """When a request was sent and when each of its tokens was read, in seconds."""

    sent_at: float
    read_at: tuple[float, ...]

    @property
    def ttft_ms(self) -> float:
        """Milliseconds to the first token."""
        return (self.read_at[0] - self.sent_at) * 1000

    @property
    def itl_ms(self) -> list[float]:
        """Milliseconds between tokens."""
        pairs = zip(self.read_at, self.read_at[1:], strict=False)
        return [(later - earlier) * 1000 for earlier, later in pairs]


def figures(heard: Sequence[Heard]) -> dict[str, float]:
    """Percentiles of TTFT and ITL in milliseconds, and tokens a second over all."""
    ttft = [one.ttft_ms for one in heard]
    itl = [gap for one in heard for gap in one.itl_ms]
    seconds = max(one.read_at[-1] for one in heard) - min(one.sent_at for one in heard)
    return {
        **{f"ttft p{percent}": percentile(ttft, percent) for percent in PERCENTS},
        **{f"itl p{percent}": percentile(itl, percent) for percent in PERCENTS},
        "tokens/s": sum(len(one.read_at) for one in heard) / seconds,
    }


def listen(engine: Engine, request: GenerateRequest) -> Heard:
    """Send a request and read its tokens, on the caller's thread."""
    sent_at = time.perf_counter()
    read_at = []
    for event in engine.stream([request]):
        if isinstance(event, ErrorEvent):
            raise event.error
        if isinstance(event, TokenEvent):
            read_at.append(time.perf_counter())
    return Heard(sent_at, tuple(read_at))


class Clients:
    """Threads that all have to end well."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self._errors: list[Exception] = []

    def start(self, act: Callable[[], None]) -> None:
        """One more client."""

        def guarded() -> None:
            try:
                act()
            except Exception as error:  # the edge of a thread: told when all have ended
                self._errors.append(error)

        self._threads.append(threading.Thread(target=guarded, daemon=True))
        self._threads[-1].start()

    def wait(self) -> None:
        """Until all have ended.  Raises: the first error of any."""
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise self._errors[0]


def closed_loop(engine: Engine, of_clients: Sequence[Sequence[GenerateRequest]]) -> list[Heard]:
    """Each client's requests one after the other, all clients at once."""
    heard: list[Heard] = []
    clients = Clients()
    for requests in of_clients:
        clients.start(lambda own=requests: heard.extend(listen(engine, one) for one in own))
    clients.wait()
    return heard


def open_loop(
    engine: Engine, requests: Sequence[GenerateRequest], per_second: float, seed: int
) -> list[Heard]:
    """Requests that arrive as a Poisson process, each read by a client of its own."""
    draw = random.Random(seed)
    heard: list[Heard] = []
    clients = Clients()
    due = time.perf_counter()
    for request in requests:
        time.sleep(max(0.0, due - time.perf_counter()))
        clients.start(lambda one=request: heard.append(listen(engine, one)))
        due += draw.expovariate(per_second)
    clients.wait()
    return heard
