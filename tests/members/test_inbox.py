"""An inbox that receives where it is waited for: puts wake it, sockets feed it, order is kept."""

import threading
import time
from collections.abc import Callable, Iterator
from queue import Empty

import pytest
import zmq

from gac.members.inbox import SocketInbox

Pipe = Callable[[], tuple[zmq.Socket, zmq.Socket]]


@pytest.fixture
def inbox() -> Iterator[SocketInbox]:
    inbox = SocketInbox()
    yield inbox
    inbox.close()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """Makes connected sockets, one that receives and one that sends."""
    context: zmq.Context = zmq.Context()
    made: list[zmq.Socket] = []

    def make() -> tuple[zmq.Socket, zmq.Socket]:
        receiver, sender = context.socket(zmq.PULL), context.socket(zmq.PUSH)
        receiver.bind(f"inproc://{len(made)}")
        sender.connect(f"inproc://{len(made)}")
        made.extend((receiver, sender))
        return receiver, sender

    yield make
    context.destroy(linger=0)


def test_put_of_another_thread_wakes_the_one_that_waits(inbox: SocketInbox) -> None:
    woken: list[float] = []

    def wait() -> None:
        for _ in range(20):
            inbox.get()()

    waiting = threading.Thread(target=wait)
    waiting.start()
    for _ in range(20):
        time.sleep(0.01)
        at = time.monotonic()
        inbox.put(lambda at=at: woken.append(time.monotonic() - at))  # type: ignore[misc]
    waiting.join(10.0)
    assert len(woken) == 20
    assert sorted(woken)[10] < 0.05


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
    for receiver, sender in (pipe(), pipe()):
        inbox.listen(receiver, lambda frames: heard.append(bytes(frames[0])))
        for number in range(5):
            sender.send(b"%d" % number)
    inbox.receive(1.0)
    assert sorted(heard) == sorted([b"0", b"1", b"2", b"3", b"4"] * 2)


def test_taker_may_put_and_is_answered_in_the_same_turn(inbox: SocketInbox, pipe: Pipe) -> None:
    receiver, sender = pipe()
    done: list[str] = []
    inbox.listen(receiver, lambda _: inbox.put(lambda: done.append("heard")))
    sender.send(b"")
    inbox.get()()
    assert done == ["heard"]
    inbox.drop(receiver)
    with pytest.raises(Empty):
        inbox.get_nowait()
    assert receiver.closed


def test_put_after_the_end_does_nothing() -> None:
    inbox = SocketInbox()
    inbox.close()
    inbox.put(lambda: None)
