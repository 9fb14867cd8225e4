"""What a member asks for against what a cluster has; no Ray is started."""

import socket
import time
from pathlib import Path
from typing import Any

import pytest

from gac.config import MemberConfig, RayConfig
from gac.errors import PlacementError
from gac.members.placement import RayCluster, bundle_of, check_resources, shown_resources


def member(name: str, **changes: Any) -> MemberConfig:
    return MemberConfig(path="x/y", name=name, **changes)


def nodes(*resources: dict[str, float]) -> list[dict[str, Any]]:
    return [{"Alive": True, "Resources": one} for one in resources]


def refusal(members: list[MemberConfig], *on_nodes: dict[str, float]) -> str:
    total = {name: sum(node.get(name, 0.0) for node in on_nodes) for name in ("GPU", "CPU")}
    with pytest.raises(PlacementError) as refused:
        check_resources(members, total, nodes(*on_nodes))
    return refused.value.message


def test_members_that_fit_are_not_refused() -> None:
    halves = [member("a", num_gpus=0.5), member("b", num_gpus=0.5), member("c")]
    check_resources(halves, {"GPU": 1.0, "CPU": 1.0}, nodes({"GPU": 1.0, "CPU": 1.0}))
    assert [bundle_of(one) for one in halves] == [{"GPU": 0.5}, {"GPU": 0.5}, {}]


def test_first_member_without_room_is_named_with_what_there_is() -> None:
    members = [member("a", num_gpus=1), member("b", num_gpus=0.5), member("c", num_cpus=1)]
    message = refusal(members, {"GPU": 1.0, "CPU": 4.0})
    assert message.startswith("member 'b' asks for 0.5 GPUs; there are 0 left of 1")
    assert "1 node(s) with 1 GPU, 4 CPU" in message
    assert "a: 1 GPU; b: 0.5 GPU; c: 1 CPU" in message


def test_member_must_fit_one_machine() -> None:
    message = refusal([member("wide", num_gpus=4)], {"GPU": 2.0}, {"GPU": 2.0})
    assert "'wide' asks for 4 GPUs; there are 4 left of 4, at most 2 on one machine" in message


def test_dead_machines_do_not_count() -> None:
    dead = [{"Alive": False, "Resources": {"GPU": 8.0}}]
    with pytest.raises(PlacementError, match="0 node"):
        check_resources([member("a", num_gpus=1)], {"GPU": 8.0}, dead)


def test_resources_in_words() -> None:
    assert shown_resources({"CPU": 2.0, "GPU": 0.5, "memory": 9.0}) == "0.5 GPU, 2 CPU"
    assert shown_resources({"GPU": 0.0}) == ""


def test_unreachable_cluster_is_told_at_once(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"  # bound, but nobody listens
        cluster = RayCluster(RayConfig(address=address))
        started = time.monotonic()
        with pytest.raises(PlacementError, match=f"cannot join the Ray cluster at '{address}'"):
            cluster.start()
        cluster.stop()
    assert time.monotonic() - started < 6.0
