"""How many cores a process may use, by its affinity and by the quotas of its control groups."""

import os
from pathlib import Path

import pytest

from gac.members.cores import usable_cores


@pytest.fixture(autouse=True)
def sixteen_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))


def written(root: Path, files: dict[str, str]) -> tuple[Path, Path]:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root / "fs", root / "own"


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 16),
        ({"own": "0::/\n"}, 16),
        ({"own": "0::/\n", "fs/cpu.max": "max 100000\n"}, 16),
        ({"own": "0::/\n", "fs/cpu.max": "250000 100000\n"}, 2),
        ({"own": "0::/\n", "fs/cpu.max": "50000 100000\n"}, 1),
        ({"own": "0::/\n", "fs/cpu.max": "3200000 100000\n"}, 16),
        ({"own": "0::/a/b\n", "fs/a/cpu.max": "300000 100000\n", "fs/a/b/cpu.max": "max 1"}, 3),
        ({"own": "0::/of/the/host\n", "fs/cpu.max": "400000 100000"}, 4),
        ({"own": "0::/\n", "fs/cpu.max": "what\n"}, 16),
        (
            {
                "own": "4:memory:/d\n3:cpu,cpuacct:/d\n",
                "fs/cpu/d/cpu.cfs_quota_us": "600000\n",
                "fs/cpu/d/cpu.cfs_period_us": "100000\n",
                "fs/cpu/cpu.cfs_quota_us": "-1\n",
                "fs/cpu/cpu.cfs_period_us": "100000\n",
            },
            6,
        ),
    ],
)
def test_smallest_bound_counts(files: dict[str, str], cores: int, tmp_path: Path) -> None:
    assert usable_cores(*written(tmp_path, files)) == cores


def test_affinity_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5})
    assert usable_cores(*written(tmp_path, {})) == 2
