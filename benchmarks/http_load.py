"""The real server as a process of its own, and clients that ask it over HTTP.

One thread plays all clients and looks at nothing but the end of each answer, so that it takes
little of the processors that server and members need; what each of them took is told.
"""

import json
import os
import re
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import yaml

from benchmarks.lineups import Lineup

ROOT = Path(__file__).parents[1]
START_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Server:
    """Where a server listens, and its process."""

    url: str
    process: psutil.Process


@contextmanager
def serving(lineup: Lineup, on_ray: bool, folder: Path) -> Iterator[Server]:
    """A server with these members, on a free port of this machine."""
    members = [
        {"weight": str(path), "name": name, "num_threads": 1} for name, path in lineup.paths.items()
    ]
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
            yield Server(_address(server, output.fileno()), psutil.Process(server.pid))
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


@dataclass(frozen=True)
class Ask:
    """What every client asks for: so many tokens, whole or streamed."""

    num_tokens: int
    stream: bool = False
    is_templated: bool = False

    def message(self, url: str, text: str) -> bytes:
        """The bytes of a request about a text, whose connection ends with its answer."""
        body = {
            "messages_list": [[{"role": "user", "content": text}]],
            "max_new_tokens": self.num_tokens,
            "ignore_eos": True,
            "apply_chat_template": self.is_templated,
            "stream": self.stream,
        }
        data = json.dumps(body).encode()
        head = (
            f"POST /api/generate HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n"
            "Connection: close\r\n\r\n"
        )
        return head.encode() + data


@dataclass
class _Client:
    """One client: what it has yet to send, and what it reads."""

    requests: list[bytes]
    read: list[bytes] = field(default_factory=list)


@dataclass(frozen=True)
class Served:
    """What some clients got together, and the seconds of processors it took, by process."""

    tokens_per_s: float
    cpu_s: Mapping[str, float]


def load(server: Server, of_clients: Sequence[Sequence[str]], ask: Ask) -> Served:
    """Have all clients ask at once, each sending its texts one after the other."""
    clients = [_Client([ask.message(server.url, text) for text in own]) for own in of_clients]
    before, started = _cpu_s(server), time.perf_counter()
    answers = _answers(server.url, clients)
    seconds, after = time.perf_counter() - started, _cpu_s(server)
    for answer in answers:
        assert answer.startswith(b"HTTP/1.1 200"), answer[:500]
        assert b'"num_tokens":%d' % ask.num_tokens in answer, answer[-500:]
    taken = {name: after[name] - spent for name, spent in before.items()}
    return Served(len(answers) * ask.num_tokens / seconds, taken)


def _answers(url: str, clients: Sequence[_Client]) -> list[bytes]:
    """Every answer, up to the end of its connection."""
    address = (urlsplit(url).hostname, urlsplit(url).port)
    answers: list[bytes] = []
    with selectors.DefaultSelector() as ready:

        def send_next(client: _Client) -> None:
            connection = socket.create_connection(address)
            connection.sendall(client.requests.pop(0))
            ready.register(connection, selectors.EVENT_READ, client)

        for client in clients:
            send_next(client)
        while ready.get_map():
            for key, _ in ready.select():
                connection, client = key.fileobj, key.data
                if data := connection.recv(1 << 16):  # type: ignore[union-attr]
                    client.read.append(data)
                    continue
                ready.unregister(connection)
                connection.close()  # type: ignore[union-attr]
                answers.append(b"".join(client.read))
                client.read.clear()
                if client.requests:
                    send_next(client)
    return answers


def _cpu_s(server: Server) -> dict[str, float]:
    """Seconds of processors so far: this process, the server's, and all below that one."""
    below = server.process.children(recursive=True)
    return {
        "clients": time.process_time(),
        "server": _spent(server.process),
        "members and Ray": sum(map(_spent, below)),
    }


def _spent(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
