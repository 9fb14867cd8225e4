"""Members that are lost and come back: nobody notices by the texts, and there is an end to it."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gac.core import ErrorEvent
from gac.decoding.strategies import StrategyMaker
from gac.engine.engine import Engine
from gac.engine.limits import EngineLimits
from gac.engine.restart import MAX_RESTARTS
from gac.engine.service import Service, State
from gac.engine.startup import Started
from gac.errors import MemberError
from tests.support.client import Answer, generate, get, one
from tests.support.collect import Written
from tests.support.examples import examples
from tests.support.fake_service import fake_config, fakes_for, serving, until
from tests.support.mortal import Lives, MortalMember, MortalSeedling
from tests.support.trios import (
    EVERY_STEP,
    SPECS,
    STRATEGIES,
    alone,
    members,
    request_of,
    said,
)
from tests.support.trios import LONG as SPEC

ENDS = st.sampled_from(["dies when asked", "dies at work", "hangs and answers too late"])


def doom(lives: Lives, member: MortalMember, end: str) -> None:
    if end == "dies when asked":
        member.die()
    elif end == "dies at work":
        threading.Timer(0.002, member.die).start()
    else:
        member.hang()


@examples(40)
@given(
    specs=st.lists(SPECS, min_size=1, max_size=5),
    strategy=STRATEGIES,
    max_sequences=st.sampled_from([1, 3, 16]),
    max_batch_tokens=st.sampled_from([7, 2048]),
    kv_tokens=st.sampled_from([140, 100_000]),
    dooms=st.dictionaries(st.integers(0, 40), ENDS, min_size=1, max_size=4),
    away_s=st.sampled_from([0.0, 0.01]),
)
def test_texts_are_the_same_however_often_members_are_lost(
    specs, strategy, max_sequences, max_batch_tokens, kv_tokens, dooms, away_s
) -> None:
    num_asked = 0

    def on_extend(member: MortalMember) -> None:
        nonlocal num_asked
        num_asked += 1
        if num_asked in dooms:
            doom(lives, member, dooms[num_asked])

    def revive(engine: Engine, member: MortalMember, error: Exception) -> None:
        def bring_back() -> None:
            engine.welcome(lives.next_life(member.name))

        threading.Timer(away_s, bring_back).start() if away_s else bring_back()

    lives = Lives(members(max_kv_tokens=kv_tokens), on_extend)
    limits = EngineLimits(max_sequences, max_batch_tokens=max_batch_tokens, max_losses=100)
    engine = Engine(lives.ensemble, StrategyMaker(strategy), limits, revive=revive)
    engine.start()
    written = [Written() for _ in specs]
    for place, spec in enumerate(specs):
        engine.submit([request_of(lives, spec, str(place))], written[place])
    for each in written:
        assert each.done.wait(60), "the engine hangs"
    engine.stop()
    lives.close()
    for spec, each in zip(specs, written, strict=True):
        assert said(each) == said(alone(spec, strategy))
    for runner in lives.runners.values():
        assert not runner.told, "a member still remembers a sequence"


def test_request_that_kills_its_member_is_not_tried_for_ever() -> None:
    """And those beside it, which may have met both deaths, get their texts when they come again."""
    num_deaths = 0

    def on_extend(member: MortalMember) -> None:
        nonlocal num_deaths
        if member.name == "ada" and any(item.sequence == 1 for item in member.asked):
            num_deaths += 1
            member.die()

    def revive(engine: Engine, member: MortalMember, error: Exception) -> None:
        engine.welcome(lives.next_life(member.name))

    lives = Lives(members(), on_extend)
    engine = Engine(lives.ensemble, StrategyMaker(EVERY_STEP), revive=revive)
    engine.start()
    poison, later = Written(), Written()
    engine.submit([request_of(lives, SPEC, "poison")], poison)
    assert poison.done.wait(60), "the engine hangs"
    engine.submit([request_of(lives, SPEC, "later")], later)
    assert later.done.wait(60), "the engine hangs"
    engine.stop()
    lives.close()
    assert isinstance(poison.end, ErrorEvent)
    assert "member 'ada' died" in str(poison.end.error)
    assert num_deaths == EngineLimits().max_losses
    assert (
        engine.roster.losses == engine.roster.restarts == {"ada": num_deaths, "bora": 0, "cleo": 0}
    )
    assert said(later) == said(alone(SPEC, EVERY_STEP))


Mortal = tuple[Service, Lives]


@pytest.fixture
def go_on() -> Iterator[threading.Event]:
    """Set: a next life has loaded."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def mortal(go_on: threading.Event) -> tuple[Service, Lives]:
    """A service whose members can be lost, and load again as soon as they may go on."""
    return mortal_service(lambda lives, name: MortalSeedling(lives, name, go_on))


def mortal_service(sow: Callable[[Lives, str], MortalSeedling]) -> tuple[Service, Lives]:
    fakes = fakes_for(end_bias=-5.0)
    lives = Lives(fakes.members)
    started: Started = fakes.service._launch(None, None, None)  # type: ignore[arg-type]
    started = replace(started, ensemble=lives.ensemble, relaunch=lambda name: sow(lives, name))
    return Service(fake_config(), lambda *_: started), lives


LONG = one("the cat", max_new_tokens=120, ignore_eos=True)


def test_requests_wait_while_a_member_is_away(mortal: Mortal, go_on: threading.Event) -> None:
    service, lives = mortal
    with serving(service) as url:
        assert service.wait(10.0)
        expected = generate(url, LONG).body["response"]
        lives.present["bora"].die()
        assert until(lambda: service.loading["bora"].stage == "weights")
        status, probe = get(url, "/status"), get(url, "/health/ready")
        assert status.status == probe.status == 503
        assert status.body["status"] == "restarting"
        assert status.body["members"]["bora"] == {"stage": "weights", "fraction": 0.5}
        assert "num_running" in status.body
        assert "member 'bora' died" in probe.error["message"]
        answers: list[Answer] = []
        asking = threading.Thread(target=lambda: answers.append(generate(url, LONG)))
        asking.start()
        assert until(lambda: get(url, "/status").body["num_running"] == 1)
        go_on.set()
        asking.join(20.0)
        assert answers[0].body["response"] == expected
        assert until(lambda: get(url, "/status").status == 200)
        assert get(url, "/health/ready").status == 200
    assert lives.num_lives == {"ada": 1, "bora": 2}


def test_member_that_is_lost_too_often_is_given_up(mortal: Mortal, go_on: threading.Event) -> None:
    service, lives = mortal
    go_on.set()
    with serving(service) as url:
        assert service.wait(10.0)
        for life in range(MAX_RESTARTS + 1):
            assert service.state is State.READY
            assert lives.num_lives["ada"] == life + 1
            lives.present["ada"].die()
            lived = life + 2 if life < MAX_RESTARTS else life + 1
            assert until(lambda lived=lived: lives.num_lives["ada"] == lived)
            assert until(lambda: service.state in (State.READY, State.FAILED))
        assert until(lambda: service.state is State.FAILED)
        refused = generate(url, LONG)
        assert refused.status == 503
        assert "member 'ada' died (given up: 3 restarts in 10 minutes)" in refused.error["message"]
        assert get(url, "/status").body["status"] == "failed"


@pytest.mark.slow
def test_restart_that_fails_is_tried_again_and_then_given_up() -> None:
    sown: list[MortalSeedling] = []

    def sow(lives: Lives, name: str) -> MortalSeedling:
        seedling = MortalSeedling(lives, name, threading.Event())
        seedling._loading.set_exception(MemberError("member 'ada': no memory"))
        sown.append(seedling)
        return seedling

    service, lives = mortal_service(sow)
    with serving(service) as url:
        assert service.wait(10.0)
        answers: list[Answer] = []
        body = {**LONG, "max_new_tokens": 5000}
        asking = threading.Thread(target=lambda: answers.append(generate(url, body)))
        asking.start()
        assert until(lambda: get(url, "/status").body.get("num_tokens", 0) > 3)
        lives.present["ada"].die()
        asking.join(20.0)
        assert answers[0].status == 500
        assert "member 'ada': no memory (given up" in answers[0].error["message"]
    assert len(sown) == MAX_RESTARTS
    assert all(seedling.is_closed for seedling in sown)


def test_stopping_during_a_restart_ends_it(mortal: Mortal) -> None:
    service, lives = mortal
    service.start()
    assert service.wait(10.0)
    lives.present["bora"].die()
    assert until(lambda: service.loading["bora"].stage == "weights")
    service.stop(30.0)
    assert service._thread is not None and not service._thread.is_alive()
    assert lives.num_lives["bora"] == 1
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("restart")]
