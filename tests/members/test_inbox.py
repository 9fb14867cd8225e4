"""An inbox that receives where it is waited for: puts wake it, sockets feed it, order is kept."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from queue import Empty

import pytest

from gac.members.inbox import SocketInbox
from gac.members.unix_wire import FarUnixWire, NearUnixWire

Pipe = Callable[[], tuple[NearUnixWire, FarUnixWire]]


@pytest.fixture
def inbox() -> Iterator[SocketInbox]:
    inbox = SocketInbox()
    yield inbox
    inbox.close()


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Pipe]:
    """Makes connected wires; the far one has heard a first message."""
    made: list[FarUnixWire] = []

    def make() -> tuple[NearUnixWire, FarUnixWire]:
        path = str(tmp_path / str(len(made)))
        far = FarUnixWire(path)
        near = NearUnixWire(path)
        near.send(b"hello", b"")
        assert far.receive() == (b"hello", b"")
        made.append(far)
        return near, far

    yield make
    for far in made:
        far.end()


def nothing(*_: object) -> None:
    """Nobody minds."""


def test_put_of_another_thread_wakes_the_one_that_waits(inbox: SocketInbox, monkeypatch) -> None:
    woken: list[int] = []
    # By itself it would look only after the test has failed.
    monkeypatch.setattr(inbox, "receive", partial(inbox.receive, 60.0))

    def wait() -> None:
        for _ in range(20):
            inbox.get()()

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    for number in range(20):
        time.sleep(0.01)
        inbox.put(lambda number=number: woken.append(number))  # type: ignore[misc]
    waiting.join(20.0)
    assert woken == list(range(20))


def test_puts_keep_their_order_and_none_is_lost(inbox: SocketInbox) -> None:
    done: list[int] = []
    for number in range(20_000):  # more rings than the bell holds
        inbox.put(lambda number=number: done.append(number))  # type: ignore[misc]
    for _ in range(20_000):
        inbox.get()()
    with pytest.raises(Empty):
        inbox.get_nowait()
    assert done == list(range(20_000))


def test_everything_that_has_arrived_is_taken_in_at_once(inbox: SocketInbox, pipe: Pipe) -> None:
    heard: list[bytes] = []
    for near, far in (pipe(), pipe()):
        inbox.listen(near, lambda message: heard.append(message[1]), nothing, nothing)
        for number in range(5):
            far.send(b"n", b"%d" % number)
    inbox.receive(1.0)
    assert sorted(heard) == sorted([b"0", b"1", b"2", b"3", b"4"] * 2)


def test_taker_may_put_and_is_answered_in_the_same_turn(inbox: SocketInbox, pipe: Pipe) -> None:
    near, far = pipe()
    done: list[str] = []
    inbox.listen(near, lambda _: inbox.put(lambda: done.append("heard")), nothing, nothing)
    far.send(b"", b"")
    inbox.get()()
    assert done == ["heard"]
    inbox.drop(near)
    with pytest.raises(Empty):
        inbox.get_nowait()
    with pytest.raises(EOFError):
        far.receive()


def test_end_of_the_other_side_is_told_once(inbox: SocketInbox, pipe: Pipe) -> None:
    near, far = pipe()
    done: list[str] = []
    inbox.listen(near, lambda _: done.append("heard"), lambda: done.append("broken"), nothing)
    far.send(b"last", b"words")
    far.end()
    for _ in range(3):
        inbox.receive(0.01)
    near.send(b"into", b"the void")
    assert done == ["heard", "broken"]
    assert not near.has_backlog
    inbox.drop(near)


def test_large_messages_pass_both_ways_without_blocking_the_engine(
    inbox: SocketInbox, pipe: Pipe
) -> None:
    near, far = pipe()
    large = bytes(range(256)) * 20_000  # many times what a socket holds
    heard: list[bytes] = []
    inbox.listen(near, lambda message: heard.append(bytes(message[1])), nothing, nothing)
    for _ in range(2):
        near.send(b"question", large)
    assert near.has_backlog
    inbox.receive(0.01)
    assert near.has_backlog, "nobody reads yet"

    def answer() -> None:
        for _ in range(2):
            header, body = far.receive()
            far.send(header, body)

    answering = threading.Thread(target=answer)
    answering.start()
    deadline = time.monotonic() + 10.0
    while len(heard) < 2 and time.monotonic() < deadline:
        inbox.receive(0.1)
    answering.join(10.0)
    assert heard == [large, large]
    assert not near.has_backlog
    inbox.drop(near)


def test_put_after_the_end_does_nothing() -> None:
    inbox = SocketInbox()
    inbox.close()
    inbox.put(lambda: None)


class Numbered:
    """A wire by its number alone."""

    has_backlog = False

    def __init__(self, pollable: int) -> None:
        self.pollable = pollable

    def read(self) -> list[tuple[bytes, bytes]]:
        os.read(self.pollable, 100)
        return [(b"", b"here")]

    def close(self) -> None:
        pass


def test_wire_that_is_dropped_twice_leaves_its_number_to_the_next(inbox: SocketInbox) -> None:
    reading, writing = os.pipe()
    first, second = Numbered(reading), Numbered(reading)
    inbox.listen(first, nothing, nothing, nothing)
    inbox.drop(first)
    heard: list[bytes] = []
    inbox.listen(second, lambda message: heard.append(message[1]), nothing, nothing)
    inbox.drop(first)
    os.write(writing, b"x")
    inbox.receive(1.0)
    assert heard == [b"here"]
    inbox.drop(second)
    inbox.receive(0.0)
    os.close(reading)
    os.close(writing)
