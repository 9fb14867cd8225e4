"""How many processor cores this process may use: its affinity and its container's quota."""

import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


def usable_cores(cgroups: Path = CGROUPS, own: Path = OWN_CGROUP) -> int:
    """At least 1; a quota of 2.5 cores counts as 2.  `os.cpu_count()` knows neither bound."""
    has_affinity = hasattr(os, "sched_getaffinity")  # not on macOS
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    quotas = [quota for quota in _quotas(cgroups, own) if quota is not None]
    return max(1, int(min([cores, *quotas])))


def _quotas(cgroups: Path, own: Path) -> Iterator[float | None]:
    """The quotas of this process's control group and of all above it, in cores; None: no bound."""
    try:
        lines = own.read_text().splitlines()
    except OSError:  # not Linux, or hidden
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        # In a container the path may be the host's: then only the root is found.
        folders = [Path(path.lstrip("/")), *Path(path.lstrip("/")).parents]
        for folder in folders:
            if not controllers:  # version 2
                yield _quota(cgroups / folder / "cpu.max")
            elif "cpu" in controllers.split(","):
                yield _quota_v1(cgroups / "cpu" / folder)


def _quota(file: Path) -> float | None:
    """Of `cpu.max`, which holds microseconds of work (or "max") in so many of time."""
    try:
        quota, period = file.read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def _quota_v1(folder: Path) -> float | None:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        period = int((folder / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None
    return quota / period if quota > 0 else None
