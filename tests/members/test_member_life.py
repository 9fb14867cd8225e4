"""Members in Ray actors that die or hang under running requests: noticed soon, and nothing lost."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import ray

from gac.config import Config, RayConfig, load_config
from gac.engine.service import Service, State
from gac.engine.startup import (
    Started,
    Watch,
    _seated,
    load_tokenizers,
    start_ensemble,
    unite,
)
from gac.errors import MemberLost
from gac.members import ray_actor
from gac.members.loader import load_order
from gac.members.placement import RayCluster
from tests.support.client import Answer, generate, get, one
from tests.support.fake_service import serving, until
from tests.support.server_process import demo_config

pytestmark = [pytest.mark.slow, pytest.mark.ray]

LONG = one("the cat", max_new_tokens=400, ignore_eos=True)
NOTICED_WITHIN_S = {signal.SIGKILL: 2.0, signal.SIGSTOP: 10.0}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder: Path = tmp_path_factory.mktemp("demo")
    return load_config(demo_config(folder, ray={"enabled": False}))


@pytest.fixture(scope="module")
def first() -> Iterator[RayCluster]:
    """A started Ray; the module's other clusters use it, too."""
    cluster = RayCluster(RayConfig())
    cluster.start()
    yield cluster
    cluster.stop()


def service_on(config: Config, cluster: RayCluster) -> Service:
    def launch(config: Config, _: None, watch: Watch) -> Started:
        return start_ensemble(config, cluster, watch)

    return Service(config, launch)


def process_of(service: Service, name: str) -> psutil.Process:
    [member] = [member for member in service.engine.members if member.name == name]
    _, pid = ray.get(member._actor.where.remote())  # type: ignore[attr-defined]
    return psutil.Process(pid)


@pytest.mark.parametrize("transport", ["sockets", "ray"])
def test_member_that_dies_or_hangs_is_restarted_and_texts_stay(
    config: Config, first: RayCluster, transport: str
) -> None:
    cluster = RayCluster(RayConfig.model_validate({"transport": transport}))
    service = service_on(config, cluster)
    with serving(service) as url:
        assert service.wait(90.0) and service.state is State.READY, service.explanation
        expected = generate(url, LONG).body["response"]
        for how, words in ((signal.SIGKILL, "died"), (signal.SIGSTOP, "hangs")):
            answers: list[Answer] = []

            def ask(told: list[Answer] = answers) -> None:
                told.append(generate(url, LONG, timeout_s=180.0))

            asking = [threading.Thread(target=ask) for _ in range(3)]
            for thread in asking:
                thread.start()
            assert until(lambda: get(url, "/status").body["num_running"] == 3)
            assert_noticed(service, url, how, words)
            for thread in asking:
                thread.join(180.0)
            assert [answer.body["response"] for answer in answers] == [expected] * 3
            assert get(url, "/status").status == 200
            assert get(url, "/status").body["num_failed"] == 0
    cluster._exchange and cluster._exchange.close()


def assert_noticed(service: Service, url: str, how: signal.Signals, words: str) -> None:
    process = process_of(service, "bora")
    os.kill(process.pid, how)
    hit_at = time.monotonic()
    assert until(lambda: service.state is State.RESTARTING, 30.0)
    took_s = time.monotonic() - hit_at
    print(f"{how.name}: noticed after {took_s:.2f} s")
    probe, status = get(url, "/health/ready"), get(url, "/status")
    assert took_s < NOTICED_WITHIN_S[how]
    assert probe.status == status.status == 503
    assert f"member 'bora' {words}" in probe.error["message"]
    assert status.body["status"] == "restarting"
    assert until(lambda: service.state is State.READY, 60.0), service.explanation
    print(f"{how.name}: back after {time.monotonic() - hit_at:.1f} s")
    assert until(lambda: not process.is_running() or process.status() == "zombie", 10.0)


@pytest.mark.parametrize(
    ("moment", "how", "words"),
    [
        ("seat", signal.SIGSTOP, "hangs: a call that sets it up"),
        ("open_line", signal.SIGSTOP, "hangs: a call that sets it up"),
        ("open_line", signal.SIGKILL, "died"),
    ],
)
def test_member_lost_while_it_is_seated(
    config: Config, first: RayCluster, monkeypatch, moment: str, how: signal.Signals, words: str
) -> None:
    """Nobody watches its pulse yet; and without a process, sockets are not all that it lacks."""
    tokenizers = load_tokenizers(config)
    [bora] = [member for member in config.members if member.name == "bora"]
    [seedling] = first.place([bora], [load_order(bora, config.engine, 1)])
    seedling.loaded().result(60.0)
    _, pid = ray.get(seedling._actor.where.remote())

    def strike() -> bool:
        os.kill(pid, how)
        return True

    if moment == "seat":
        strike()
    else:
        monkeypatch.setattr(seedling, "_is_here", strike)  # asked just before
    monkeypatch.setattr(ray_actor, "SEAT_S", 2.0)
    try:
        with pytest.raises(MemberLost, match=f"member 'bora' {words}"):
            _seated(seedling, unite(tokenizers), tokenizers["bora"])
    finally:
        seedling.close()
