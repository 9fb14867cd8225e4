"""Loading may take its time, but a member that hangs in it is noticed."""

import math
from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from gac.engine import startup
from gac.engine.startup import Started, bring_up, start_ensemble
from gac.errors import MemberError
from gac.members.loader import Seat
from gac.members.member import Member, MemberFacts
from tests.support.fake_service import fake_config, fakes_for


class Clock:
    """Time that passes only in sleep, and fast."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += 100 * seconds


class Loading:
    """A member that comes a tenth further every `pace_s`."""

    def __init__(self, clock: Clock, member: Member, pace_s: float, stage: str = "weights") -> None:
        self.name, self.is_closed = member.name, False
        self._clock, self._member, self._pace_s, self._stage = clock, member, pace_s, stage

    def progress(self) -> tuple[str, float]:
        return self._stage, self._clock.now // self._pace_s / 10

    def loaded(self) -> "Future[MemberFacts]":
        future: Future[MemberFacts] = Future()
        if self.progress()[1] >= 1.0:
            future.set_result(self._member.facts)
        return future

    def seat(self, seat: Seat) -> Member:
        return self._member

    def close(self) -> None:
        self.is_closed = True


def nothing(*_: object) -> None:
    """Nobody looks on."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(startup, "time", clock)
    return clock


@pytest.fixture
def started() -> Iterator[Started]:
    fakes = fakes_for()
    yield fakes.service._launch(fake_config(), None, nothing)
    fakes.members.close()


def test_start_fails_for_members_that_come_no_further(
    clock: Clock, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not while another does, as members of one process load one after the other."""
    ada, bora = started.ensemble.members.values()
    slow, stuck = Loading(clock, ada, 1000.0), Loading(clock, bora, math.inf)
    monkeypatch.setattr(startup, "launch_local", lambda orders: [slow, stuck])
    monkeypatch.setattr(startup, "load_tokenizers", lambda config: started.tokenizers)
    config = fake_config(engine={"load_timeout_s": 1500})
    with pytest.raises(MemberError) as failed:
        start_ensemble(config, None, nothing)
    assert failed.value.message == (
        "loading members: 'bora' (weights, 0%): no progress for 1500 s (engine.load_timeout_s)"
    )
    assert 11_500 < clock.now < 11_600
    assert slow.is_closed and stuck.is_closed


def test_member_may_take_long_if_it_comes_further(clock: Clock, started: Started) -> None:
    ada = started.ensemble.members["ada"]
    assert bring_up(started, Loading(clock, ada, 1000.0), nothing, 1500) is ada
    assert clock.now >= 10_000


@pytest.mark.parametrize(
    ("stage", "words"),
    [("starting", "member 'ada' did not start within 60 s"), ("weights", "no progress for 1500 s")],
)
def test_next_life_that_hangs_is_ended(
    stage: str, words: str, clock: Clock, started: Started
) -> None:
    stuck = Loading(clock, started.ensemble.members["ada"], math.inf, stage)
    with pytest.raises(MemberError, match=words):
        bring_up(started, stuck, nothing, 1500)
    assert stuck.is_closed


def test_graphs_without_a_cuda_device_are_warned_of(
    started: Started, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    loading = [Loading(clock, one, 1.0) for one in started.ensemble.members.values()]
    clock.now = 100.0
    monkeypatch.setattr(startup, "launch_local", lambda orders: loading)
    monkeypatch.setattr(startup, "load_tokenizers", lambda config: started.tokenizers)
    for cuda_graphs in (False, True):
        start_ensemble(fake_config(engine={"cuda_graphs": cuda_graphs}), None, nothing)
        assert ("cuda_graphs: true has no effect" in caplog.text) == cuda_graphs
