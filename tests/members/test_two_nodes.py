"""Members on two nodes of a Ray cluster write what members of this process write."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from gac.config import Config, RayConfig, load_config
from gac.engine.service import Service, State
from tests.support.client import Answer, generate, one
from tests.support.fake_service import serving
from tests.support.server_process import demo_config

pytestmark = [pytest.mark.slow, pytest.mark.ray]

BODIES = [
    one("What is the capital of Norway?", max_new_tokens=20, apply_chat_template=True),
    one("é👍", max_new_tokens=15, temperature=1.0, seed=3, ignore_eos=True),
]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster of two nodes with room for one member each."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    yield cluster.address
    ray.shutdown()
    cluster.shutdown()


def written(config: Config) -> tuple[list[Answer], set[str], list[str]]:
    """Answers, the nodes that members ran on, and where they were asked."""
    service = Service(config)
    with serving(service) as url:
        assert service.wait(120.0) and service.state is State.READY, service.explanation
        members = service.engine.members
        actors = [getattr(member, "_actor", None) for member in members]
        nodes = {ray.get(actor.where.remote())[0] for actor in actors if actor is not None}
        ends = [member._line.ends for member in members if hasattr(member, "_line")]
        lines = ["unix" if one.path else one.down for one in ends]
        answers = [generate(url, body) for body in BODIES]
    return answers, nodes, lines


def test_two_nodes_write_the_same_through_either_transport(tmp_path: Path, address: str) -> None:
    config = load_config(demo_config(tmp_path, ray={"enabled": False}))
    expected, _, _ = written(config)
    apart = tuple(member.model_copy(update={"num_cpus": 1.0}) for member in config.members)
    for transport in ("sockets", "ray"):
        way = RayConfig.model_validate({"address": address, "transport": transport})
        answers, nodes, lines = written(config.model_copy(update={"members": apart, "ray": way}))
        assert len(nodes) == 2
        kinds = sorted(line.split(":")[0] for line in lines)
        assert kinds == (["tcp", "unix"] if transport == "sockets" else [])
        for answer, other in zip(answers, expected, strict=True):
            assert answer.status == other.status == 200
            assert answer.body["response"] == other.body["response"]
            assert answer.body["usage"] == other.body["usage"]
