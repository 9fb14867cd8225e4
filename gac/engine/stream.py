"""The one way out: the events of some requests, read as they come.

The engine's thread puts events into a bounded buffer and never waits.  When the buffer is full, the
requests that fill it are held back: they keep their place and their caches, and nothing more is
decided for them until the reader has taken half of the events.  Other requests do not notice.
"""

import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue

from gac.core import ErrorEvent, Event, TokenEvent

EVENTS_PER_TEXT = 128
"""So many events for each text of a stream are buffered; one step may add a few more."""

Wake = Callable[[], None]


class Buffer:
    """Events on their way from the engine's thread to one reader."""

    def __init__(self, request_ids: Iterable[str], wake_engine: Wake) -> None:
        self.events: SimpleQueue[Event] = SimpleQueue()
        self.unread = set(request_ids)
        """Requests whose end the reader has not taken yet; the reader's."""
        self.is_closed = False
        self.first_at: float | None = None
        self.limit = EVENTS_PER_TEXT * len(self.unread)
        self._num_writing = len(self.unread)
        self._wake_engine = wake_engine
        self._is_held = False
        self._wake_reader: Wake | None = None
        self._wake_at = 1
        self._is_reader_woken = False

    def put(self, event: Event) -> None:
        """Add an event; called on the engine's thread."""
        if self.first_at is None:
            self.first_at = time.monotonic()
        is_end = not isinstance(event, TokenEvent)
        self._num_writing -= is_end
        if self.is_closed and not is_end:
            return
        self.events.put(event)
        if self._wake_reader is None or self._is_reader_woken:
            return
        is_urgent = not self._num_writing or isinstance(event, ErrorEvent)
        if is_urgent or self.events.qsize() >= self._wake_at:
            self._is_reader_woken = True
            self._wake_reader()

    def is_full(self) -> bool:
        """Whether requests are to wait before they write more; called on the engine's thread.

        If so, the engine is woken as soon as the reader has taken half of the events.
        """
        if self.events.qsize() < self.limit:
            return False
        self._is_held = True
        # Check again: the reader checks `_is_held` after it has taken an event, so that one of the
        # two sees what the other did.
        return self.events.qsize() >= self.limit

    def next(self) -> Event:
        """The next event; waits for it."""
        event = self.events.get()
        if not isinstance(event, TokenEvent):
            self.unread.discard(event.request_id)
        self._let_go_on()
        return event

    def take(self) -> list[Event]:
        """All events that are there; does not wait."""
        self._is_reader_woken = False  # before looking: what comes from now on wakes again
        taken: list[Event] = []
        with suppress(Empty):
            while True:
                taken.append(self.events.get_nowait())
        self.unread.difference_update(
            event.request_id for event in taken if not isinstance(event, TokenEvent)
        )
        self._let_go_on()
        return taken

    def _let_go_on(self) -> None:
        """Let the requests that were held back go on once half of the events are read."""
        if self._is_held and self.events.qsize() <= self.limit // 2:
            self._is_held = False
            self._wake_engine()

    def call_when_ready(self, wake: Wake, num_events: int) -> None:
        """Have `wake` called as soon as so many events are there, an error, or the last end."""
        self._wake_at = num_events
        self._wake_reader = wake
        if not self.events.empty():  # came before anybody was to be woken
            wake()


class Stream(Iterator[Event]):
    """Iterates over the events of some requests until each has ended; for one reader.

    A request ends with a `FinishEvent` or an `ErrorEvent`.  `close` aborts what still runs, as do
    the end of a `with` block and dropping the iterator (leaving a `for` loop).
    """

    def __init__(self, buffer: Buffer, abort: Callable[[str], None]) -> None:
        self._buffer = buffer
        self._close = weakref.finalize(self, _close, buffer, abort)
        self._close.atexit = False

    def __next__(self) -> Event:
        if self.ended:
            raise StopIteration
        return self._buffer.next()

    @property
    def ended(self) -> bool:
        """Whether every end was read, or the stream is closed."""
        return self._buffer.is_closed or not self._buffer.unread

    @property
    def first_at(self) -> float | None:
        """When the engine gave the first event, by `time.monotonic`."""
        return self._buffer.first_at

    def take(self) -> list[Event]:
        """All events that have come, without waiting."""
        return self._buffer.take()

    def call_when_ready(self, wake: Wake, num_events: int = 1) -> None:
        """Have `wake` called, on the engine's thread, when `take` is worth while.

        That is when so many events are there, or an error, or all requests have ended; then not
        again before `take`.
        """
        self._buffer.call_when_ready(wake, min(num_events, self._buffer.limit))

    def close(self) -> None:
        """Abort the requests that have not ended; may be called again."""
        self._close()

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _close(buffer: Buffer, abort: Callable[[str], None]) -> None:
    buffer.is_closed = True
    for request_id in tuple(buffer.unread):
        abort(request_id)
