"""GET /status and the probes: from the start, while loading, at work, after a failure."""

import json
import threading
import time
from collections.abc import Callable

import pytest

from gac import __version__
from gac.config import Config
from gac.engine.service import Service
from gac.engine.startup import Started, Watch
from gac.errors import MemberError, MemberLost
from tests.support.client import Answer, generate, get, one
from tests.support.fake_service import fake_config, fakes_for, ready, serving, until


def test_loading_is_503_with_the_progress_of_each_member() -> None:
    fakes = fakes_for()
    go_on = threading.Event()

    def launch(config: Config, cluster: None, watch: Watch) -> Started:
        watch("ada", "weights", 0.5)
        assert go_on.wait(10.0)
        return fakes.service._launch(config, cluster, watch)

    service = Service(fake_config(), launch)
    with serving(service) as url:
        assert until(lambda: service.loading["ada"].fraction)
        status = get(url, "/status")
        assert status.status == 503
        assert status.error["type"] == "unavailable_error"
        assert status.body["status"] == "loading"
        assert status.body["members"] == {
            "ada": {"stage": "weights", "fraction": 0.5},
            "bora": {"stage": "waiting", "fraction": 0.0},
        }
        assert status.headers["retry-after"]
        assert get(url, "/health/live").status == 200
        assert_probes(url, 503)
        assert get(url, "/version").body == {"version": __version__}
        refused = generate(url, one("a"))
        assert (refused.status, refused.error["code"]) == (503, "engine_unavailable")
        assert refused.headers["retry-after"]
        go_on.set()
        assert service.wait(10.0)
        assert get(url, "/status").status == 200
        assert_probes(url, 200)
        assert generate(url, one("a", max_new_tokens=1)).status == 200


def assert_probes(url: str, status: int) -> None:
    """All spellings of the probe say the same."""
    for path in ("/health/ready", "/health", "/ping"):
        answer = get(url, path)
        assert answer.status == status
        assert answer.body == {"status": "ready"} if status == 200 else answer.error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemberError("member 'ada': cannot load it"), "member 'ada': cannot load it"),
        (ZeroDivisionError("oops"), "oops"),
    ],
)
def test_failed_load_is_told(error: Exception, words: str) -> None:
    def launch(config: Config, cluster: None, watch: Watch) -> Started:
        raise error

    service = Service(fake_config(), launch)
    with serving(service) as url:
        assert service.wait(10.0)
        for path in ("/status", "/health/ready"):
            answer = get(url, path)
            assert answer.status == 503
            assert words in answer.error["message"]
        assert get(url, "/status").body["status"] == "failed"
        assert get(url, "/health/live").status == 200
        assert words in generate(url, one("a")).error["message"]


def test_stop_while_loading_ends_the_load() -> None:
    rounds = []

    def launch(config: Config, cluster: None, watch: Watch) -> Started:
        while True:
            watch("ada", "weights", 0.0)
            rounds.append(1)
            time.sleep(0.01)

    loaded: list[int] = []
    service = Service(fake_config(), launch)
    service.start(lambda: loaded.append(1))
    assert until(lambda: rounds)
    service.stop(30.0)
    assert service._thread is not None and not service._thread.is_alive()
    assert not loaded and service.error is None


def test_lost_member_is_a_failure_even_while_nobody_asks() -> None:
    fakes = fakes_for()
    tells: list[Callable[[MemberLost], None]] = []
    member = fakes.members.ensemble.members["bora"]
    member.when_lost = tells.append  # type: ignore[method-assign]
    with ready(fakes) as url:
        assert get(url, "/status").status == 200
        [tell] = tells
        tell(MemberLost("member 'bora' died: out of memory"))
        assert until(lambda: get(url, "/status").status == 503)
        for answer in (get(url, "/status"), get(url, "/health/ready"), generate(url, one("a"))):
            assert answer.status == 503
            assert answer.error["message"] == "member 'bora' died: out of memory"
        assert get(url, "/status").body["status"] == "failed"


def test_member_that_hangs_makes_the_server_unready(monkeypatch) -> None:
    fakes = fakes_for()
    release = threading.Event()
    fakes.on_extend(lambda batch: release.wait(20.0))
    with ready(fakes) as url:
        asking = threading.Thread(target=generate, args=(url, one("a", max_new_tokens=1)))
        asking.start()
        assert until(lambda: get(url, "/status").body["num_running"])
        assert get(url, "/health/ready").status == 200
        monkeypatch.setattr("gac.engine.service.STALL_S", 0.0)
        answer = get(url, "/health/ready")
        release.set()
        asking.join()
        assert answer.status == 503
        assert answer.error["message"] == "a member has stopped answering"
        assert get(url, "/health/ready").status == 200


def assert_status_answers(url: str, is_busy: Callable[[], object]) -> None:
    """Often while the server is busy, and never only after a large part of its work is done."""
    times, began = [], time.monotonic()
    while is_busy():
        started = time.monotonic()
        assert get(url, "/status").status == 200
        times.append(time.monotonic() - started)
        time.sleep(0.01)
    total_s = time.monotonic() - began
    assert len(times) > 5
    print(f"{len(times)} times in {total_s:.1f} s, worst {max(times) * 1e3:.1f} ms")
    assert max(times) < total_s / 2


def test_status_answers_while_long_texts_are_written(url: str) -> None:
    body = one("the cat", max_new_tokens=250, ignore_eos=True)
    writing = [threading.Thread(target=generate, args=(url, body)) for _ in range(8)]
    for thread in writing:
        thread.start()
    assert until(lambda: get(url, "/status").body["num_running"] > 4)
    assert_status_answers(url, lambda: get(url, "/status").body["num_running"])
    for thread in writing:
        thread.join()


def test_status_answers_while_a_huge_prompt_is_refused(url: str) -> None:
    body = json.dumps(one("the cat é 👍 " * 80_000), ensure_ascii=False).encode()
    answers: list[Answer] = []
    asking = threading.Thread(target=lambda: answers.append(generate(url, body)))
    asking.start()
    assert_status_answers(url, asking.is_alive)
    assert answers[0].error["code"] == "context_length_exceeded"
