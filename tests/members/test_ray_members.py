"""Members in Ray actors write what members in this process write, and fail in plain words."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from gac.config import Config, RayConfig, load_config
from gac.core import Answer as Rows
from gac.core import Extend
from gac.engine.service import Service, State
from gac.engine.startup import Started, Watch, start_ensemble
from gac.errors import MemberError, MemberLost
from gac.members.member import Reply
from gac.members.placement import RayCluster
from tests.support.client import Answer, generate, get, one
from tests.support.fake_service import serving
from tests.support.server_process import demo_config

pytestmark = [pytest.mark.slow, pytest.mark.ray]

BODIES = [
    one("What is the capital of Norway?", max_new_tokens=20, apply_chat_template=True),
    one("the cat", max_new_tokens=30, ignore_eos=True),
    one("é👍", max_new_tokens=15, temperature=1.0, seed=3, ignore_eos=True),
    {
        "messages_list": [[{"role": "user", "content": text}] for text in ("a b", "Hello", "1+1")],
        "max_new_tokens": 12,
        "apply_chat_template": True,
    },
]

Place = Callable[[str], Service]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder: Path = tmp_path_factory.mktemp("demo")
    return load_config(demo_config(folder, ray={"enabled": False}))


@pytest.fixture(scope="module")
def place(config: Config) -> Iterator[Place]:
    """Services whose members are actors of one Ray, each asked through the transport named."""
    first = RayCluster(RayConfig())
    clusters = [first]
    first.start()

    def service(transport: str) -> Service:
        cluster = RayCluster(RayConfig.model_validate({"transport": transport}))
        clusters.append(cluster)

        def launch(config: Config, _: None, watch: Watch) -> Started:
            return start_ensemble(config, cluster, watch)

        return Service(config, launch)

    yield service
    for cluster in reversed(clusters):
        cluster.stop()


@pytest.fixture(scope="module")
def expected(config: Config) -> list[Answer]:
    """What members of this process write."""
    service = Service(config)
    with serving(service) as url:
        assert service.wait(60.0) and service.state is State.READY, service.explanation
        return [generate(url, body) for body in BODIES]


@pytest.mark.parametrize("transport", ["sockets", "ray"])
def test_ray_members_equal_local_ones(place: Place, expected: list[Answer], transport: str) -> None:
    service = place(transport)
    stages = set()
    with serving(service) as url:
        while service.state is State.LOADING:
            members = get(url, "/status").body["members"]
            stages |= {member["stage"] for member in members.values()}
            time.sleep(0.02)
        assert service.state is State.READY, service.explanation
        assert {"starting", "weights"} <= stages
        assert_same_texts(url, expected)
        assert_errors_name_the_member(service, url)


def assert_same_texts(url: str, expected: list[Answer]) -> None:
    for body, other in zip(BODIES, expected, strict=True):
        answer = generate(url, body)
        assert answer.status == other.status == 200
        for key in ("response", "finish_reasons", "usage", "ensembled_token_ratio"):
            assert answer.body[key] == other.body[key]


def assert_errors_name_the_member(service: Service, url: str) -> None:
    """An error inside the actor leaves the actor alive, and the item's neighbour its row."""
    member = service.started.ensemble.members["bora"]
    batch = [Extend(10**6, 5, (1,), (99,)), Extend(10**6 + 1, 0, (1,), (1,))]
    failed, row = asked(service, lambda: member.extend(batch)).result(20.0).answers
    assert isinstance(failed, MemberError) and not isinstance(failed, MemberLost)
    assert failed.message.startswith("member 'bora' failed: ") and "\n" not in failed.message
    assert isinstance(row, Rows) and len(row.rows) == 1
    member.release([10**6 + 1])
    assert generate(url, BODIES[0]).status == 200


def asked(service: Service, ask: Callable[[], Future[Reply]]) -> Future[Reply]:
    """What a member is asked on the engine's thread, the only one that may."""
    asked: Future[Future[Reply]] = Future()
    service.started.inbox.put(lambda: asked.set_result(ask()))
    return asked.result(20.0)
