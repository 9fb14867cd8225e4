"""The real server as a process of its own, watched with all that it starts."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

ROOT = Path(__file__).parents[2]


def demo_config(folder: Path, names: Sequence[str] = ("ada", "bora"), **sections: Any) -> Path:
    """A configuration file of two demo members, or of these, with sections and keys replaced."""
    models = ROOT / "demo" / "models"
    members = [{"weight": str(models / name), "name": name} for name in names]
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({"CONFIG_API_SERVER": members, **sections}), "utf-8")
    return path


@dataclass
class Ended:
    """How a process ended: code, seconds from the signal on, and what it left running."""

    code: int
    took_s: float
    left: list[str] = field(default_factory=list)


class ServerProcess:
    """`gac_api_server.py` on a free port; standard output and error go to one file.

    `python` is the interpreter that runs it; this one if none is named.
    """

    def __init__(self, config: Path, *flags: str, python: Path | None = None) -> None:
        self._file = tempfile.TemporaryFile()
        self.started_at = time.monotonic()
        interpreter = str(python or sys.executable)
        command = [interpreter, "gac_api_server.py", "--config-path", str(config)]
        flags = flags or ("--port", "0")
        self.process = subprocess.Popen(
            [*command, *flags],
            cwd=ROOT,
            stdout=self._file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        )
        self._seen: dict[int, psutil.Process] = {}

    @property
    def output(self) -> str:
        """All that was printed so far."""
        # Not `read`: the child writes where this process has read to.
        return os.pread(self._file.fileno(), 10**7, 0).decode()

    @property
    def url(self) -> str:
        """Where it listens, as soon as it says so."""
        return self.wait_for(r"listening on (\S+),")

    def wait_for(self, pattern: str, timeout_s: float = 180.0) -> str:
        """Wait for a line; gives the first group."""
        deadline = time.monotonic() + timeout_s
        while not (found := re.search(pattern, self.output)):
            assert self.process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            self.descendants()
            time.sleep(0.05)
        return found[1] if found.groups() else found[0]

    def descendants(self) -> Sequence[psutil.Process]:
        """All processes that were ever seen below this one, and are not known to be gone."""
        with suppress(psutil.NoSuchProcess):
            for process in psutil.Process(self.process.pid).children(recursive=True):
                self._seen[process.pid] = process
        return list(self._seen.values())

    def end(self, stop: signal.Signals | None = signal.SIGTERM, within_s: float = 20.0) -> Ended:
        """Send a signal, if any, and wait until the process has ended and a little longer."""
        self.descendants()
        started = time.monotonic()
        if stop is not None:
            self.process.send_signal(stop)
        try:
            while self.process.poll() is None and time.monotonic() < started + within_s:
                self.descendants()
                time.sleep(0.02)
            took_s = time.monotonic() - started
            code = self.process.poll()
            assert code is not None, f"still running after {took_s:.0f} s\n{self.output}"
            _, alive = psutil.wait_procs(self._seen.values(), timeout=2.0)
            return Ended(code, took_s, [_shown(p) for p in alive if not _is_gone(p)])
        finally:
            self._kill()

    def _kill(self) -> None:
        """Leave nothing behind, whatever the test found."""
        for process in self._seen.values():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End it without a look at how, if it still runs."""
        self.descendants()
        self._kill()
        self._file.close()


@contextmanager
def running(config: Path, python: Path | None = None) -> Iterator[ServerProcess]:
    """A server that serves; it must end cleanly, too."""
    server = ServerProcess(config, python=python)
    try:
        server.wait_for("ready: ")
        yield server
        assert server.end().code == 0, server.output
    finally:
        server.close()


def _is_gone(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE  # where nobody reaps orphans
    except psutil.NoSuchProcess:
        return True


def _shown(process: psutil.Process) -> str:
    with suppress(psutil.NoSuchProcess):
        return " ".join(process.cmdline())[:200]
    return str(process.pid)
