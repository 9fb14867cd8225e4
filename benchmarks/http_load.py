"""The real server as a process of its own, and clients that ask it over HTTP."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml

from benchmarks.clients import Clients
from benchmarks.lineups import Lineup

ROOT = Path(__file__).parents[1]
START_TIMEOUT_S = 120.0


@contextmanager
def serving(lineup: Lineup, on_ray: bool, folder: Path) -> Iterator[str]:
    """The address of a server with these members, on a free port of this machine."""
    members = [{"weight": str(path), "name": name} for name, path in lineup.paths.items()]
    config = folder / "config.yaml"
    config.write_text(
        yaml.safe_dump({"CONFIG_API_SERVER": members, "ray": {"enabled": on_ray}}), "utf-8"
    )
    command = [sys.executable, "gac_api_server.py", "--config-path", str(config), "--port", "0"]
    with tempfile.TemporaryFile() as output:
        server = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        )
        try:
            yield _address(server, output.fileno())
        finally:
            server.terminate()
            server.wait()


def _address(server: "subprocess.Popen[bytes]", output: int) -> str:
    """Where the server listens, as soon as it is ready."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        said = os.pread(output, 1 << 20, 0).decode()
        if ready := re.search(r"ready: (http://\S+)", said):
            return ready[1]
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the server did not start:\n{said}")
        time.sleep(0.1)


def tokens_per_second(
    url: str, of_clients: Sequence[Sequence[str]], num_tokens: int, is_templated: bool = False
) -> float:
    """What all clients get together, each sending its texts one after the other."""
    clients = Clients()
    started = time.perf_counter()
    for texts in of_clients:
        clients.start(lambda own=texts: _ask_all(url, own, num_tokens, is_templated))
    clients.wait()
    num_texts = sum(len(texts) for texts in of_clients)
    return num_texts * num_tokens / (time.perf_counter() - started)


def _ask_all(url: str, texts: Sequence[str], num_tokens: int, is_templated: bool) -> None:
    for text in texts:
        body = {
            "messages_list": [[{"role": "user", "content": text}]],
            "max_new_tokens": num_tokens,
            "ignore_eos": True,
            "apply_chat_template": is_templated,
        }
        request = urllib.request.Request(
            f"{url}/api/generate/", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request) as response:
            answer = json.load(response)
        assert answer["num_tokens"] == num_tokens, answer
