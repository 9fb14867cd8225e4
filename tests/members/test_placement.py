"""What a member asks for against what a cluster has; no Ray is started."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from gac.config import EngineConfig, MemberConfig, RayConfig
from gac.errors import PlacementError
from gac.members import placement, socket_folder
from gac.members.loader import load_order
from gac.members.placement import (
    RayCluster,
    bundle_of,
    check_resources,
    idle_gpu_warnings,
    shown_resources,
)


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


def test_member_without_num_gpus_beside_free_gpus_is_warned_of() -> None:
    members = [
        member("a", num_gpus=1),
        member("b"),
        member("c", device="cpu"),
        member("d", num_gpus=0),
    ]
    [warning] = idle_gpu_warnings(members, {"GPU": 2.0})
    assert warning.startswith("MEMBER 'b' WILL RUN ON THE CPU, THOUGH 1 GPU(S) ARE FREE")
    assert "num_gpus" in warning
    assert not list(idle_gpu_warnings(members, {"GPU": 1.0}))
    assert not list(idle_gpu_warnings(members, {"CPU": 8.0}))


def test_check_warns_of_idle_gpus(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    answers = {"cluster_resources": {"GPU": 1.0}, "nodes": nodes({"GPU": 1.0})}
    monkeypatch.setattr(placement, "_ask", answers.get)
    cluster = RayCluster(RayConfig())
    cluster.check([member("a")])
    cluster.stop()
    [record] = caplog.records
    assert record.levelname == "WARNING" and "MEMBER 'a' WILL RUN ON THE CPU" in record.message


def test_member_that_reserves_nothing_is_placed_on_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another machine of a cluster need not have its files."""
    launched: dict[str, dict[str, Any]] = {}

    class Group:
        def wait(self, timeout_s: float) -> bool:
            return True

    class Context:
        def get_node_id(self) -> str:
            return "ab" * 28

    resources = {"CPU": 4.0}
    answers = {"cluster_resources": resources, "nodes": nodes(resources)}
    monkeypatch.setattr(placement, "_ask", answers.get)
    monkeypatch.setattr(placement, "placement_group", lambda bundles: Group())
    monkeypatch.setattr(placement.ray, "get_runtime_context", Context)
    monkeypatch.setattr(
        placement, "RaySeedling", lambda order, options, _: launched.update({order.name: options})
    )
    members = [member("a"), member("b", num_cpus=1)]
    cluster = RayCluster(RayConfig())
    cluster.place(members, [load_order(one, EngineConfig(), 2) for one in members])
    cluster.launch("a")  # again, as after its process has died
    cluster.stop()
    near = launched["a"]["scheduling_strategy"]
    assert (near.node_id, near.soft) == ("ab" * 28, False)
    assert launched["a"]["num_cpus"] == launched["a"]["num_gpus"] == 0
    assert launched["b"]["scheduling_strategy"].placement_group_bundle_index == 0


def test_sockets_lie_in_a_short_folder_whatever_tmpdir_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("a" * 90)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    assert socket_folder.short_folder() == "/tmp"
    cluster = RayCluster(RayConfig())
    with socket.socket(socket.AF_UNIX) as listener:
        assert cluster._exchange is not None
        listener.bind(cluster._exchange.ends().path)
    cluster.stop()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PlacementError, match="set TMPDIR to a shorter folder"):
        socket_folder.short_folder()
    monkeypatch.setattr(tempfile, "tempdir", "/tmp/x")
    assert socket_folder.short_folder() == "/tmp/x"


def test_ray_that_cannot_start_is_a_plain_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: Any) -> None:
        raise OSError("AF_UNIX path length cannot exceed 107 bytes")

    monkeypatch.setattr(placement.ray, "init", fail)
    cluster = RayCluster(RayConfig())
    with pytest.raises(PlacementError, match="cannot start Ray: AF_UNIX path length"):
        cluster.start()
    cluster.stop()


@pytest.mark.slow
@pytest.mark.ray
def test_ray_starts_whatever_tmpdir_says(tmp_path: Path) -> None:
    long = tmp_path / ("a" * 90)
    long.mkdir()
    program = """
from gac.config import RayConfig
from gac.members.placement import RayCluster
cluster = RayCluster(RayConfig())
cluster.start()
cluster.stop()
"""
    environment = {**os.environ, "TMPDIR": str(long)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=120)
