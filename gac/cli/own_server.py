"""A server of one's own: `gac serve` as a child process on a free loopback port."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from gac.errors import ConfigError, GacError, PlacementError

END_S = 15.0
"""Longer than the server takes to shut down, before it is killed."""
POLL_S = 0.1


class OwnServer:
    """Starts on entry, is ready when entry returns, and has ended on exit.

    What it prints goes to the file `log`.
    """

    def __init__(self, config_path: Path, log: Path) -> None:
        self._command = [
            *(sys.executable, "-m", "gac", "serve"),
            *("--config-path", str(config_path), "--host", "127.0.0.1", "--port", "0"),
        ]
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __enter__(self) -> "OwnServer":
        with self._log.open("wb") as output:
            # A session of its own: Ctrl-C reaches this process alone, which ends the server.
            self._process = subprocess.Popen(
                self._command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            with Console(stderr=True).status(f"loading the members (log: {self._log})"):
                self.url = self._said(r"listening on (\S+),")
                self._said(r"(ready): ")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _said(self, pattern: str) -> str:
        """Wait until the server has printed it.  Raises: what it ended with."""
        assert self._process is not None
        while True:
            code = self._process.poll()
            text = self._log.read_text("utf-8", "replace")
            if found := re.search(pattern, text):
                return found[1]
            if code is not None:
                raise _failure(code, text, self._log)
            time.sleep(POLL_S)

    def _end(self) -> None:
        """Ask it to stop; kill it, and what it started, if it does not."""
        if self._process is None:
            return
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END_S)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _failure(code: int, text: str, log: Path) -> GacError:
    """The server's own error, of a kind that gives the same exit code."""
    _, is_said, reason = text.rpartition("error: ")
    kind = ConfigError if code == ConfigError.exit_code else PlacementError
    said = reason.strip() if is_said else f"exit code {code}, see {log}"
    return kind(f"the server could not start: {said}")
