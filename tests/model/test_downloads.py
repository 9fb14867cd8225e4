"""A long download counts as coming further; the hub is a small server on this machine."""

import http.server
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest

from gac.model.downloads import counting_bar

ROOT = Path(__file__).parents[2]
ADA = ROOT / "demo" / "models" / "ada"
COMMIT = "0" * 40
PIECE = 2**19


def test_bytes_are_reported_as_a_share_and_files_are_not() -> None:
    shares: list[float] = []
    bar = counting_bar(shares.append)
    with bar(total=100, initial=40, unit="B", unit_scale=True) as received:
        received.update(10)
        received.total += 100  # another file joins
        received.update(50)
        received.update(1000)
    assert list(bar(["a", "b"], desc="Fetching 2 files")) == ["a", "b"]
    bar(total=0, unit="B").update(5)
    assert shares == [0.5, 0.5, 1.0]


class Hub(http.server.BaseHTTPRequestHandler):
    """Gives the demo member's files, the weights in slow pieces."""

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        path = ADA / self.path.rpartition("/")[2]
        if not self.path.startswith("/some/ada/resolve/") or not path.is_file():
            self.send_response(HTTPStatus.NOT_FOUND)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data = path.read_bytes()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{path.name}-{len(data)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if with_body:
            for start in range(0, len(data), PIECE):
                self.wfile.write(data[start : start + PIECE])
                time.sleep(0.02)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.slow
def test_slow_download_is_told_piece_by_piece(hub: str, tmp_path: Path) -> None:
    program = f"""
import json
import huggingface_hub.constants
huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE = {PIECE}  # the file of the demo is small
from gac.model.loading import ModelSpec, load_model
told = []
load_model(ModelSpec("some/ada"), lambda *stage: told.append(stage))
print(json.dumps(told))
"""
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    shares = [share for stage, share in told if stage == "download"]
    assert shares == sorted(set(shares)) and len(shares) >= 5 and shares[-1] == 1.0
    assert told[0] == ["weights", 0.0] and told[-1][0] == "warm-up"
