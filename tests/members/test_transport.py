"""Sockets carry the same messages as calls, and fail when a member is lost."""

import socket
import threading
import time
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
import zmq

from gac.config import EveryStepConfig
from gac.core import Extend, GenerateRequest
from gac.decoding.strategies import StrategyMaker
from gac.engine.ensemble import Ensemble
from gac.errors import GacError, MemberError, MemberLost
from gac.members.curve import Keys, prove_client
from gac.members.far_end import FarEnd
from gac.members.headers import Header, Kind
from gac.members.local import LocalMember
from gac.members.loss import Loss
from gac.members.member import Reply
from gac.members.messages import pack_batch
from gac.members.transport import Exchange, Line
from gac.members.unix_wire import FarUnixWire
from tests.support.collect import Running
from tests.support.fakes import byte_level_definition, fake_ensemble, prompt_for, unigram_definition


class LineTo(LocalMember):
    """A local member whose host is reached through sockets instead."""

    def __init__(self, member: LocalMember, exchange: Exchange, is_far: bool = False) -> None:
        super().__init__(member.name, member._host, member.facts)
        ends = exchange.far_ends().at("127.0.0.1") if is_far else exchange.ends()
        self.far = FarEnd(member._host, ends)
        self.ends = ends = self.far.ends
        self.line = Line(member.name, exchange, ends, Loss())
        self.extend = self.line.extend  # type: ignore[method-assign]
        self.release = self.line.release  # type: ignore[method-assign]

    def close(self) -> None:
        self.line.close()
        self.far.close()
        super().close()


SILENT: list[FarUnixWire] = []
"""Far ends that nobody serves."""


@pytest.fixture
def exchange():
    exchange = Exchange()
    yield exchange
    exchange.close()
    while SILENT:
        SILENT.pop().end()


def heard(exchange: Exchange, future: "Future[Reply]") -> Reply:
    """Receive, as an engine would, until an answer is there."""
    deadline = time.monotonic() + 10.0
    while not future.done() and time.monotonic() < deadline:
        exchange.inbox.receive(0.1)
    return future.result(0)


def ensembles(exchange: Exchange, is_far: bool = False):
    fakes = fake_ensemble(
        {
            "ada": byte_level_definition([" the", " cat"]),
            "bora": unigram_definition([*"abcthe ", " the", " cat"]),
        },
        leading=["bora"],
    )
    near = fakes.ensemble
    lines = {name: LineTo(member, exchange, is_far) for name, member in near.members.items()}
    far = Ensemble(lines, near.vocabularies, near.union, near.weights, near.rule)
    return fakes, near, far


@pytest.mark.parametrize("is_far", [False, True])
def test_sockets_give_the_same_texts_as_calls(exchange: Exchange, is_far: bool) -> None:
    fakes, near, far = ensembles(exchange, is_far)
    prompts = prompt_for(fakes, "the cat", lead=True)
    requests = [GenerateRequest(str(n), prompts, 3 * n + 1, ignore_eos=True) for n in range(8)]
    texts = []
    for ensemble in (near, far):
        inbox = exchange.inbox if ensemble is far else None
        with Running(ensemble, StrategyMaker(EveryStepConfig()), inbox=inbox) as running:
            texts.append([one.token_bytes for one in running.write(requests)])
        if ensemble is near:  # its last releases must not meet the next engine's sequences
            for member in near.members.values():
                member.close()
    assert texts[0] == texts[1]
    for member in far.members.values():
        member.close()


def test_error_of_a_batch_comes_back_and_the_next_batch_works(exchange: Exchange) -> None:
    fakes, _, far = ensembles(exchange)
    member = far.members["ada"]
    good = Extend(1, 0, (1, 2), (2,))
    with pytest.raises(MemberError, match="'ada' failed: AssertionError"):
        heard(exchange, member.extend([Extend(9, 5, (1,), (6,))]))  # keeps ids never told
    [far_answer] = heard(exchange, member.extend([good])).answers
    [near_answer] = fakes.ensemble.members["ada"].extend([good]).result(10).answers
    assert np.array_equal(far_answer.rows[0].probs, near_answer.rows[0].probs)
    for each in far.members.values():
        each.close()


def test_lost_member_fails_what_waits_and_what_comes(exchange: Exchange) -> None:
    far = FarUnixWire((ends := exchange.ends()).path)
    line = Line("gone", exchange, ends, loss := Loss())
    waiting = line.extend([Extend(1, 0, (1,), (1,))])
    assert not waiting.done()
    loss.happen(MemberLost("member 'gone' died"))
    for future in (waiting, line.extend([])):
        with pytest.raises(MemberLost, match="gone"):
            future.result(1)
    line.close()
    far.end()


def test_member_that_hangs_up_is_lost_at_once(exchange: Exchange) -> None:
    line, told = silent_line(exchange)
    waiting = line.extend([Extend(1, 0, (1,), (1,))])
    [far] = SILENT
    far.end()
    exchange.inbox.receive(0.1)
    [error] = told
    assert "member 'still' died: its connection closed" in error.message
    with pytest.raises(MemberLost, match="connection closed"):
        waiting.result(0)
    line.close()


def test_closing_leaves_no_thread_and_no_directory() -> None:
    before = set(threading.enumerate())
    exchange = Exchange()
    folder = Path(exchange.ends().path).parent
    assert folder.stat().st_mode & 0o777 == 0o700, "others may come in"
    exchange.close()
    assert set(threading.enumerate()) <= before
    assert not folder.exists()


def test_garbage_and_messages_of_other_lives_are_dropped(exchange: Exchange) -> None:
    _, _, far = ensembles(exchange)
    member = far.members["ada"]
    ends = member.ends
    stale = Header(Kind.EXTEND, ends.epoch + 7, 1).pack()
    batch = pack_batch([Extend(9, 0, (1,), (1,))])
    for header, body in ((b"", b""), (b"garbage", b""), (b"\xff" * 13, b"{"), (stale, batch)):
        member.line._wire.send(header, body)
    late = Header(Kind.REPLY, ends.epoch + 7, 1).pack()  # of another life
    unasked = Header(Kind.REPLY, ends.epoch, 77).pack()  # to a batch nobody waits for
    heard(exchange, member.extend([Extend(2, 0, (1, 2), (2,))]))
    for header in (b"", b"garbage", late, unasked):
        member.far._wire.send(header, b"{}")
    [answer] = heard(exchange, member.extend([Extend(1, 0, (1, 2), (2,))])).answers
    assert len(answer.rows) == 1
    assert 9 not in member._host._runner.told
    for each in far.members.values():
        each.close()


def test_batch_that_cannot_be_read_is_answered_with_an_error(exchange: Exchange) -> None:
    _, _, far = ensembles(exchange)
    member = far.members["ada"]
    future = member.extend([Extend(1, 0, (1,), (1,))])
    heard(exchange, future)
    unreadable: Future[Reply] = Future()
    member.line._waiting[99] = unreadable
    member.line._wire.send(Header(Kind.EXTEND, member.ends.epoch, 99).pack(), b"{")
    with pytest.raises(MemberError, match="member 'ada' failed: "):
        heard(exchange, unreadable)
    for each in far.members.values():
        each.close()


def test_defect_of_the_far_loop_ends_it_and_stops_the_heart(exchange: Exchange) -> None:
    fakes, _, far = ensembles(exchange)
    member = far.members["ada"]
    defect = threading.Event()
    member.far._on_defect = defect.set
    fakes.runners["ada"].release = lambda sequences: 1 / 0  # type: ignore[method-assign]
    member.line.release([1])
    assert defect.wait(10.0)
    assert member.far._ended.wait(10.0)
    for each in far.members.values():
        each.close()


def silent_line(exchange: Exchange) -> tuple[Line, list[GacError]]:
    """A line to somebody who listens and never answers."""
    told: list[GacError] = []
    loss = Loss()
    loss.when(told.append)
    ends = exchange.ends()
    SILENT.append(FarUnixWire(ends.path))
    return Line("still", exchange, ends, loss), told


def test_silence_is_a_hang_but_not_where_the_engine_itself_slept(exchange: Exchange) -> None:
    line, told = silent_line(exchange)
    waiting = line.extend([Extend(1, 0, (1,), (1,))])
    now = time.monotonic()
    line._look(now + 4.9, was_away=False)
    line._look(now + 60.0, was_away=True)
    line._look(now + 64.0, was_away=False)
    assert not told
    line._look(now + 65.1, was_away=False)
    [error] = told
    assert "member 'still' hangs" in error.message
    with pytest.raises(MemberLost, match="hangs"):
        waiting.result(0)
    line._look(now + 70.0, was_away=False)
    assert len(told) == 1
    line.close()


def test_look_that_comes_late_counts_as_absence(exchange: Exchange, monkeypatch) -> None:
    looks: list[bool] = []
    far = FarUnixWire((ends := exchange.ends()).path)

    def look(now: float, was_away: bool) -> None:
        looks.append(was_away)

    exchange.inbox.listen(exchange.wire(ends), lambda _: None, lambda: None, look)
    clock = [1000.0]
    monkeypatch.setattr("gac.members.inbox.time.monotonic", lambda: clock[0])
    for later in (0.0, 0.6, 0.1, 0.6, 30.0, 0.6):
        clock[0] += later
        exchange.inbox.receive(0.0)
    assert looks == [True, False, False, True, False]
    far.end()


def test_beating_member_is_heard_while_nothing_is_asked(exchange: Exchange) -> None:
    _, _, far = ensembles(exchange)
    line = far.members["ada"].line
    line._heard_at = 0.0
    deadline = time.monotonic() + 10.0
    while not line._heard_at and time.monotonic() < deadline:
        exchange.inbox.receive(0.1)
    assert line._heard_at
    for each in far.members.values():
        each.close()


STRANGERS = ["no key", "a key of its own", "the wrong server's key"]


@pytest.mark.parametrize("stranger", STRANGERS)
def test_stranger_gets_nothing_and_disturbs_nothing(exchange: Exchange, stranger: str) -> None:
    _, near, far = ensembles(exchange, is_far=True)
    member = far.members["ada"]
    context: zmq.Context = zmq.Context()
    asks, hears = context.socket(zmq.PUSH), context.socket(zmq.PULL)
    if stranger != "no key":
        keys = exchange.keys if "server" in stranger else Keys.make()
        server_key = Keys.make().public if "server" in stranger else member.ends.member_key
        prove_client([asks, hears], keys, server_key)
    asks.connect(member.ends.down)
    hears.connect(member.ends.up)
    question = Header(Kind.EXTEND, member.ends.epoch, 1).pack()
    for _ in range(3):
        asks.send_multipart([question, pack_batch([Extend(9, 0, (1,), (1,))])])
    time.sleep(0.5)
    item = Extend(1, 0, (1, 2), (2,))
    for _ in range(20):  # were the stranger heard, every second answer would go its way
        [far_answer] = heard(exchange, member.extend([item])).answers
    [near_answer] = near.members["ada"].extend([item]).result(10).answers
    assert np.array_equal(far_answer.rows[0].probs, near_answer.rows[0].probs)
    assert not hears.poll(1500)  # no answer, and no heartbeat
    assert 9 not in member._host._runner.told
    context.destroy(linger=0)
    for each in far.members.values():
        each.close()


def test_noise_on_the_port_disturbs_nothing(exchange: Exchange) -> None:
    _, _, far = ensembles(exchange, is_far=True)
    member = far.members["ada"]
    for endpoint in (member.ends.down, member.ends.up):
        host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
        with socket.create_connection((host, int(port)), 5.0) as noisy:
            noisy.sendall(b"GET / HTTP/1.1\r\n\r\n" + b"\xff" * 1000)
    [answer] = heard(exchange, member.extend([Extend(1, 0, (1, 2), (2,))])).answers
    assert len(answer.rows) == 1
    for each in far.members.values():
        each.close()
