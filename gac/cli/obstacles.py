"""What an evaluation needs that is not here: found before anything is loaded."""

import socket
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit
from urllib.request import getproxies

from gac.cli.harness import Task
from gac.config import Config
from gac.errors import ConfigError, GacError, MemberError, PlacementError
from gac.members.placement import RayCluster
from gac.model.model_files import find_file

REACH_S = 5.0
"""How long to try to reach the Hugging Face hub."""


def refuse_what_cannot_run(config: Config | None, tasks: Sequence[Task]) -> None:
    """Raise one error that lists everything that is not here; config None: the server runs."""
    found = list(_obstacles(config, tasks))
    if not found:
        return
    lines = "\n".join(f"- {error.message}" for error in found)
    raise type(found[0])(f"this evaluation cannot run here:\n{lines}")


def _obstacles(config: Config | None, tasks: Sequence[Task]) -> Iterator[GacError]:
    offline = why_offline()
    if config is not None:
        yield from _missing_gpus(config)
        if offline:
            yield from _missing_models(config, offline)
    yield from _missing_data(tasks, offline)


def why_offline() -> str | None:
    """Why nothing can be fetched from the Hugging Face hub; None if it can be reached."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    place = urlsplit(constants.ENDPOINT)
    if place.scheme in getproxies():
        return None  # whatever the proxy lets through
    port = place.port or (443 if place.scheme == "https" else 80)
    try:
        socket.create_connection((place.hostname or "", port), REACH_S).close()
    except OSError as error:
        return f"{place.hostname} cannot be reached: {error}"
    return None


def _missing_gpus(config: Config) -> Iterator[GacError]:
    """Members for which this machine, or the configured cluster, has no room."""
    if not config.ray.enabled or not any(member.num_gpus for member in config.members):
        return
    cluster = RayCluster(config.ray)
    try:
        cluster.start()
        cluster.check(config.members)
    except PlacementError as error:
        yield error
    finally:
        cluster.stop()


def _missing_models(config: Config, offline: str) -> Iterator[GacError]:
    for member in config.members:
        if find_file(member.path, "config.json", member.revision) is None:
            yield MemberError(
                f"member {member.name!r}: {member.path} is not on this machine, and {offline}"
            )


def _missing_data(tasks: Sequence[Task], offline: str | None) -> Iterator[GacError]:
    """Data sets that cannot be read; each is tried once, whatever the number of its parts."""
    first = {task.data_path: task for task in reversed(tasks) if task.data_path}
    if not first:
        return
    for task in reversed(first.values()):
        if reason := _why_unreadable(task, offline is not None):
            said = (
                f"is not on this machine, and {offline}" if offline else f"cannot be read: {reason}"
            )
            yield ConfigError(f"task {task.name!r}: the data set {task.data_path} {said}")


def _why_unreadable(task: Task, is_offline: bool) -> str | None:
    """The first line of why a data set cannot be opened as the harness does; None if it can."""
    import datasets
    from huggingface_hub import constants

    options = {
        name: value for name, value in task.data_options.items() if name != "trust_remote_code"
    }
    if is_offline:  # else every try would wait for a connection, five times
        constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        datasets.load_dataset_builder(path=task.data_path, name=task.data_name, **options)
    except Exception as error:  # whatever the hub, its cache or a data set's own files raise
        return str(error).split("\n")[0] or type(error).__name__
    return None
