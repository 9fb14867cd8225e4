"""Where members run: one Ray, one placement group, and a clear error where there is no room."""

import logging
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import (
    NodeAffinitySchedulingStrategy,
    PlacementGroupSchedulingStrategy,
)

from gac.config import MemberConfig, RayConfig
from gac.errors import PlacementError
from gac.members.inbox import Inbox
from gac.members.loader import LoadOrder
from gac.members.ray_actor import RaySeedling
from gac.members.socket_folder import short_folder
from gac.members.transport import Exchange

logger = logging.getLogger(__name__)

PLACEMENT_TIMEOUT_S = 8.0
"""How long to wait for a cluster that has enough resources, but in use by others."""


KNOCK_TIMEOUT_S = 5.0


class RayCluster:
    """Our use of Ray: our own local instance, or one that is joined by address.

    The one engine that uses its members must wait at `inbox`.
    """

    def __init__(self, config: RayConfig) -> None:
        self._config = config
        self._group: PlacementGroup | None = None
        self._placed: dict[str, tuple[LoadOrder, dict[str, Any]]] = {}
        self._exchange = Exchange() if config.transport == "sockets" else None
        self.inbox: Inbox = self._exchange.inbox if self._exchange else SimpleQueue()

    def start(self) -> None:
        """Start or join Ray.

        A bare `ray.init()` may join somebody else's cluster, hence `address="local"`.
        Raises: PlacementError if it cannot be started, or the configured cluster not be reached.
        """
        address = self._config.address
        if address is None:
            _start_our_own()
            return
        logger.warning("joining the Ray cluster at %s: whoever reaches it can run code", address)
        try:
            _knock(address)
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, RuntimeError, ValueError) as error:
            raise PlacementError(f"cannot join the Ray cluster at {address!r}: {error}") from error

    def place(
        self, members: Sequence[MemberConfig], orders: Sequence[LoadOrder]
    ) -> list[RaySeedling]:
        """Start one actor a member, in one placement group.

        Raises: PlacementError within seconds, naming the member the cluster has no room for.
        """
        self.check(members)
        reserving = [member for member in members if bundle_of(member)]
        if reserving:
            self._group = placement_group([bundle_of(member) for member in reserving])
            if not self._group.wait(PLACEMENT_TIMEOUT_S):
                raise PlacementError(
                    f"the cluster has no free room for {_asked_for(reserving)}: others use it.  "
                    f"Free now: {shown_resources(_ask('available_resources'))}"
                )
        options = {m.name: self._options(m, place) for place, m in enumerate(reserving)}
        here = _options_here()
        self._placed = {o.name: (o, options.get(o.name, here)) for o in orders}
        return [self.launch(order.name) for order in orders]

    def launch(self, name: str) -> RaySeedling:
        """Start or restart a member with its reservation."""
        order, options = self._placed[name]
        return RaySeedling(order, options, self._exchange)

    def check(self, members: Sequence[MemberConfig]) -> None:
        """Raise PlacementError if the cluster could never hold these members.

        Warns of those that would run on the CPU beside GPUs that nobody reserves.
        """
        resources = _ask("cluster_resources")
        check_resources(members, resources, _ask("nodes"))
        for warning in idle_gpu_warnings(members, resources):
            logger.warning("%s", warning)

    def _options(self, member: MemberConfig, place: int) -> dict[str, Any]:
        assert self._group is not None
        return {
            "num_gpus": member.num_gpus,
            "num_cpus": member.num_cpus,
            "scheduling_strategy": PlacementGroupSchedulingStrategy(
                placement_group=self._group, placement_group_bundle_index=place
            ),
        }

    def stop(self) -> None:
        """Free the reservations; stops our own Ray, or leaves the cluster that was joined."""
        if self._exchange is not None:
            self._exchange.close()
        if not ray.is_initialized():
            return
        if self._group is not None and self._config.address is not None:
            remove_placement_group(self._group)
        ray.shutdown()


def _start_our_own() -> None:
    # Ray would follow TMPDIR, too, and fail where that is too long.
    folder = None if "RAY_TMPDIR" in os.environ else str(Path(short_folder()) / "ray")
    try:
        ray.init(
            address="local",
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _node_ip_address="127.0.0.1",
            _temp_dir=folder,
        )
    except OSError as error:
        raise PlacementError(f"cannot start Ray: {error}") from error


def _knock(address: str) -> None:
    """Raise OSError if nobody listens at host:port; Ray would try for more than a minute."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), KNOCK_TIMEOUT_S).close()


def _ask(what: str) -> Any:
    """Call a function of Ray that has no type annotations."""
    return getattr(ray, what)()


def bundle_of(member: MemberConfig) -> dict[str, float]:
    """What a member reserves; CPU members reserve nothing unless they say so."""
    wanted = {"GPU": member.num_gpus, "CPU": member.num_cpus}
    return {resource: amount for resource, amount in wanted.items() if amount > 0}


def _options_here() -> dict[str, Any]:
    """For a member that reserves nothing: on this machine, where its files and its config are."""
    here = ray.get_runtime_context().get_node_id()
    strategy = NodeAffinitySchedulingStrategy(here, soft=False)
    return {"num_cpus": 0, "num_gpus": 0, "scheduling_strategy": strategy}


def idle_gpu_warnings(
    members: Sequence[MemberConfig], cluster: Mapping[str, float]
) -> Iterator[str]:
    """For each member that says nothing of GPUs where some are left, what it takes to get one."""
    left = cluster.get("GPU", 0.0) - sum(member.num_gpus for member in members)
    if left <= 0:
        return
    for member in members:
        if member.device != "cpu" and "num_gpus" not in member.model_fields_set:
            yield (
                f"MEMBER {member.name!r} WILL RUN ON THE CPU, THOUGH {left:g} GPU(S) ARE FREE: Ray "
                "gives a member no GPU unless its num_gpus says so (such as 1 or 0.5; "
                "0 keeps it on the CPU without this warning)"
            )


def check_resources(
    members: Sequence[MemberConfig],
    cluster: dict[str, float],
    nodes: Sequence[dict[str, Any]],
) -> None:
    """Raise PlacementError naming the first member for which resources run out.

    A member's bundle must fit one node; all bundles together must fit the cluster.
    """
    left = {resource: cluster.get(resource, 0.0) for resource in ("GPU", "CPU")}
    sizes = [node["Resources"] for node in nodes if node.get("Alive", True)]
    for member in members:
        for resource, amount in bundle_of(member).items():
            largest = max((size.get(resource, 0.0) for size in sizes), default=0.0)
            if amount <= min(left[resource], largest):
                left[resource] -= amount
                continue
            raise PlacementError(
                f"member {member.name!r} asks for {amount:g} {resource}s; there are "
                f"{left[resource]:g} left of {cluster.get(resource, 0.0):g}, at most {largest:g} "
                f"on one machine.  The cluster has {len(sizes)} node(s) with "
                f"{shown_resources(cluster) or 'nothing'}.  "
                f"All members together ask for {_asked_for(members)}"
            )


def _asked_for(members: Sequence[MemberConfig]) -> str:
    shown = (f"{m.name}: {shown_resources(bundle_of(m)) or 'nothing'}" for m in members)
    return "; ".join(shown)


def shown_resources(resources: dict[str, float]) -> str:
    """Resources in words, such as `0.5 GPU, 2 CPU`; those there are none of are left out."""
    return ", ".join(f"{resources[n]:g} {n}" for n in ("GPU", "CPU") if resources.get(n))
