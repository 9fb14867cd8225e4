"""call.py works with a Python that has nothing installed, and says what is wrong."""

import http.server
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server_process import ROOT, ServerProcess, demo_config


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    # -I and -S: no environment, no site-packages.
    command = [sys.executable, "-I", "-S", "-W", "error", str(ROOT / "call.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def demo_url(tmp_path: Path) -> Iterator[str]:
    """The demo members, served by the real command; in one process, as that starts sooner."""
    server = ServerProcess(demo_config(tmp_path, ray={"enabled": False}))
    try:
        server.wait_for("ready: ")
        yield server.url
        assert server.end().code == 0, server.output
    finally:
        server.close()


@pytest.mark.slow
def test_prints_one_answer_a_question(demo_url: str) -> None:
    for url in (demo_url, demo_url + "/", demo_url.removeprefix("http://")):
        done = call(url)
        assert (done.returncode, done.stderr) == (0, "")
        lines = done.stdout.splitlines()
        assert [line.partition(":")[0] for line in lines[:4]] == ["question", "answer"] * 2
        assert all(line.partition(":")[2].strip() for line in lines[:4])
        assert lines[4].endswith("tokens/s")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("url", [f"http://127.0.0.1:{free_port()}", "nonsense://x", "http://:x"])
def test_says_that_there_is_no_server(url: str) -> None:
    done = call(url)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"no GaC server at {url}: ")
    assert len(done.stderr.splitlines()) == 1


class Stranger(http.server.BaseHTTPRequestHandler):
    """A server that is no GaC server."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_error(418)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def stranger() -> Iterator[str]:
    server = http.server.HTTPServer(("127.0.0.1", 0), Stranger)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_prints_a_refusal_on_one_line(stranger: str) -> None:
    done = call(stranger)
    assert done.returncode == 1
    assert done.stderr.startswith("the server refused: 418 ")
    assert len(done.stderr.splitlines()) == 1
