"""The server's life as a process: what it prints, how it ends, and that nothing outlives it."""

import json
import re
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.client import Answer, generate, get, one
from tests.support.fake_service import until
from tests.support.server_process import ServerProcess, demo_config

pytestmark = pytest.mark.slow

IN_PROCESS = {"enabled": False}
LONG = one("the cat", max_new_tokens=1000, ignore_eos=True)
NOISE = re.compile(r"Traceback|Warning:|ERROR|(?i:deprecat)|Tip:|pid=|%\||\bE \d+ \d+\]|SIGTERM")


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Starts servers that end with the test."""
    started: list[ServerProcess] = []

    def start(*flags: str, **sections: Any) -> ServerProcess:
        started.append(ServerProcess(demo_config(tmp_path, **sections), *flags))
        return started[-1]

    yield start
    for server in started:
        server.close()


def assert_clean_end(server: ServerProcess, stop: signal.Signals) -> None:
    ended = server.end(stop)
    print(f"{stop.name}: ended after {ended.took_s:.1f} s")
    assert ended.code == 0, server.output
    assert ended.took_s < 10.0
    assert ended.left == []
    assert not NOISE.search(server.output), server.output


def assert_plain_start(server: ServerProcess) -> None:
    config, _, log = server.output.partition("\n\n")
    assert config.startswith("CONFIG_API_SERVER:\n- weight: ")
    assert "engine" not in config and "score" not in config  # only what is not the default
    *lines, command = log.splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\d INFO \S", line) for line in lines), log
    said = [line.split(" ", 2)[2] for line in lines]
    assert said[0] == f"listening on {server.url}, loading 2 members"
    assert said[-1] == f"ready: {server.url}"
    answer = subprocess.run(shlex.split(command), capture_output=True, check=True).stdout
    assert json.loads(answer)["response"] == ["The capital of Norway is Oslo."]
    for member in ("ada", "bora"):
        assert f"{member}: weights" in said
        [loaded] = [line for line in said if line.startswith(f"{member}: loaded in ")]
        assert re.search(
            r"s, float32 on cpu, 0\.00\d+ GiB of weights, K/V cache of at most 0\.\d+ GiB$", loaded
        )
    assert len(set(said)) == len(said) < 16
    assert not NOISE.search(log), log


@pytest.mark.ray
def test_start_is_a_few_plain_lines_and_sigterm_while_generating_ends_all(launch: Any) -> None:
    server = launch()
    server.wait_for("ready: ")
    assert_plain_start(server)
    assert len(server.descendants()) >= 4  # Ray's own, and the two members
    answers: list[Answer] = []
    asking = threading.Thread(target=lambda: answers.append(generate(server.url, LONG)))
    asking.start()
    assert until(lambda: get(server.url, "/status").body["num_tokens"] > 5)
    assert_clean_end(server, signal.SIGTERM)
    asking.join()
    [answer] = answers
    assert answer.status == 200 or answer.error["message"] == "the server is shutting down"


@pytest.mark.ray
def test_sigint_while_members_load_in_ray(launch: Any) -> None:
    server = launch()
    server.wait_for("weights|union vocabulary")
    assert get(server.url, "/health/live").status == 200
    assert get(server.url, "/status").status == 503
    assert_clean_end(server, signal.SIGINT)


@pytest.mark.ray
def test_sigterm_while_ray_starts(launch: Any) -> None:
    server = launch()
    assert get(server.url, "/health/live").status == 200
    assert until(server.descendants)
    assert_clean_end(server, signal.SIGTERM)


@pytest.mark.ray
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_sigint_while_a_member_is_restarted(launch: Any, how: signal.Signals) -> None:
    server = launch()
    server.wait_for("ready: ")
    actors = [p for p in server.descendants() if is_actor(p)]
    assert len(actors) == 2
    actors[0].send_signal(how)
    server.wait_for("starting it again", 30.0)
    answers: list[Answer] = []
    asking = threading.Thread(target=lambda: answers.append(generate(server.url, LONG)))
    asking.start()
    ended = server.end(signal.SIGINT)
    asking.join()
    print(f"{how.name}: ended after {ended.took_s:.1f} s")
    assert ended.code == 0, server.output
    assert ended.took_s < 10.0
    assert ended.left == []
    assert "Traceback" not in server.output, server.output
    [warning] = [line for line in server.output.splitlines() if "starting it again" in line]
    assert " WARNING member " in warning


def is_actor(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return "ray::MemberActor" in " ".join(process.cmdline())
    return False


def test_sigint_while_idle(launch: Any) -> None:
    server = launch(ray=IN_PROCESS)
    server.wait_for("ready: ")
    assert_clean_end(server, signal.SIGINT)


def test_sigterm_before_anything_has_started(launch: Any) -> None:
    server = launch(ray=IN_PROCESS)
    assert until(lambda: server.output.startswith("CONFIG_API_SERVER") or server.process.poll())
    assert_clean_end(server, signal.SIGTERM)


@pytest.mark.ray
def test_missing_gpus_are_told_within_seconds(launch: Any, tmp_path: Path) -> None:
    big = {"weight": str(tmp_path), "name": "big", "num_gpus": 64}
    small = {"weight": str(tmp_path), "name": "small"}
    server = launch(CONFIG_API_SERVER=[small, big])
    ended = server.end(None)
    print(f"no GPUs: ended after {ended.took_s:.1f} s")
    assert ended.code == 3
    assert ended.took_s < 40.0  # 10 s on a machine that does nothing else; else it would never end
    assert ended.left == []
    [message] = [line for line in server.output.splitlines() if line.startswith("error: ")]
    assert "member 'big' asks for 64 GPU" in message
    assert "The cluster has 1 node(s) with" in message
    assert "CPU" in message
    assert not NOISE.search(server.output.replace("error: ", "")), server.output
