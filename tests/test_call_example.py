"""call.py works with a Python that has nothing installed, and shows what made the difference."""

import http.server
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import generate, one
from tests.support.fake_service import DEFINITIONS, fake_config, fakes_for, ready
from tests.support.server_process import ROOT, ServerProcess, demo_config

DEMO = ("ada", "bora", "cleo")


def call(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    # -I and -S: no environment for Python itself, no site-packages.
    command = [sys.executable, "-I", "-S", "-W", "error", str(ROOT / "call.py"), *arguments]
    return subprocess.run(
        command,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
        env={**os.environ, "LANG": "C.UTF-8", **environment},
    )


def answers(output: str) -> dict[str, str]:
    """The first block: what each member, and all together, wrote."""
    lines = output.split("\n\n")[1].splitlines()
    return {line.split()[0]: line.split(maxsplit=1)[1] for line in lines}


@pytest.fixture
def demo_url(tmp_path: Path) -> Iterator[str]:
    """The demo members, served by the real command; in one process, as that starts sooner."""
    server = ServerProcess(demo_config(tmp_path, DEMO, ray={"enabled": False}))
    try:
        server.wait_for("ready: ")
        yield server.url
        assert server.end().code == 0, server.output
    finally:
        server.close()


@pytest.mark.slow
def test_the_demo_members_find_together_what_ada_does_not_know(demo_url: str) -> None:
    for url in (demo_url, demo_url + "/", demo_url.removeprefix("http://")):
        done = call("--url", url)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("What is the capital of Norway?\n\n")
        assert answers(done.stdout) == {
            "ada": "The capital of Norway is Moscow.",
            "bora": "The capital of Norway is Oslo.",
            "cleo": "The capital of Norway is Oslo.",
            "together": "The capital of Norway is Oslo.",
        }
        turn = 'At token 6, after "The capital of Norway is", ada alone writes something else.'
        assert turn in done.stdout
        rows = {line.split()[0]: line for line in done.stdout.rpartition(":\n\n")[2].splitlines()}
        assert list(rows) == [*DEMO, "together"]
        assert all('" Oslo" 0.9' in rows[name] for name in ("bora", "cleo"))
        assert '" Oslo"' in rows["together"] and '" Oslo"' not in rows["ada"]
    faust = answers(call("Which writer wrote the book Faust?", "--url", url).stdout)
    assert [name for name, text in faust.items() if "Goethe" in text] == ["together"]


def test_shows_the_first_token_that_differs_of_any_members() -> None:
    with ready(fakes_for(fake_config(), end_bias=-5.0, max_context=300)) as url:
        done = call("the cat", "--url", url)
        body = one("the cat", max_new_tokens=64, apply_chat_template=True)
        together = generate(url, {**body, "trace": 3}).body
        alone = {
            name: generate(url, {**body, "members": [name]}).body["response"][0]
            for name in ("ada", "bora")
        }
    assert (done.returncode, done.stderr) == (0, "")
    first = min(
        next(
            i
            for i, pair in enumerate(zip(together["response"][0], text, strict=False))
            if pair[0] != pair[1]
        )
        for text in alone.values()
    )
    written, place = "", 0
    for token in together["trace"][0]["tokens"]:
        if len(written := written + token["text"]) > first:
            break
        place += 1
    assert f"\nAt token {place + 1}" in done.stdout
    assert all(f"\n  {name}" in done.stdout for name in ("ada", "bora", "together"))


def test_a_member_by_itself_writes_the_same() -> None:
    only = {"ada": DEFINITIONS["ada"]}
    with ready(fakes_for(fake_config(["ada"]), definitions=only, end_bias=-5.0)) as url:
        done = call("the cat", "--url", url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("\nEach member alone writes the same.\n")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(
    "url",
    [f"http://127.0.0.1:{free_port()}", "nonsense://x", "http://:x"],
    ids=["nobody listens", "no such scheme", "no port"],
)
def test_says_that_there_is_no_server(url: str) -> None:
    done = call("--url", url)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"no GaC server at {url}: ")
    assert len(done.stderr.splitlines()) == 1


def test_an_address_is_not_taken_for_a_question() -> None:
    done = call("http://127.0.0.1:8000")
    assert done.returncode == 2
    assert "--url" in done.stderr.splitlines()[-1]


@pytest.fixture
def stranger() -> Iterator[Callable[[Callable[[dict[str, Any]], Any]], str]]:
    """Serves what a function makes of each body; a number is a status without a body."""
    servers = []

    def serve(answer: Callable[[dict[str, Any]], Any]) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                made = answer(body)
                if isinstance(made, int):
                    return self.send_error(made)
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps(made).encode())

            def log_message(self, *args: object) -> None:
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def test_prints_a_refusal_on_one_line(stranger: Callable[..., str]) -> None:
    done = call("--url", stranger(lambda body: 418))
    assert done.returncode == 1
    assert done.stderr.startswith("the server refused: 418 ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("answer", [{}, [], {"response": ["x"]}, "x"])
def test_a_server_of_another_kind_is_named(stranger: Callable[..., str], answer: object) -> None:
    done = call("--url", url := stranger(lambda body: answer))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{url} is no GaC server: ")
    assert len(done.stderr.splitlines()) == 1


def token(text: str, **fields: Any) -> dict[str, Any]:
    """A token of a trace of which nobody says anything."""
    empty: dict[str, Any] = {"members": [], "verdicts": [], "combined": []}
    return {"text": text, "bytes": list(text.encode()), **empty, **fields}


def likely(text: str, **value: float) -> dict[str, Any]:
    return {"text": text, "bytes": list(text.encode()), **value}


DRAFTED = token(
    " b",
    members=[
        {"member": "ada", "top": [likely(" b", probability=0.75), likely("", probability=0.2)]}
    ],
    verdicts=[
        {"member": "bora", "agrees": False, "probability": 0.125},
        {"member": "cleo", "agrees": None, "probability": None},
        {"member": "ada", "agrees": True, "probability": 0.5},
    ],
    combined=[likely(" b", value=0.75)],
)


def recorded(own: dict[str, str], reason: str = "stop") -> Callable[[dict[str, Any]], Any]:
    """A server whose members together write `a b` and end, and alone what is given."""

    def answer(body: dict[str, Any]) -> Any:
        if "members" in body:
            [name] = body["members"]
            return {"response": [own[name]], "finish_reasons": [reason]}
        end = token("", combined=[likely("", value=0.9)])
        trace = {"members": list(own), "tokens": [token("a"), DRAFTED], "end": end}
        return {"response": ["a b"], "finish_reasons": ["stop"], "trace": [trace]}

    return answer


def test_shows_verdicts_on_drafts_and_the_end_of_a_text(stranger: Callable[..., str]) -> None:
    url = stranger(recorded({"ada": "a b", "bora": "a c", "cleo": "a b and on"}))
    done = call("x", "--url", url)
    assert (done.returncode, done.stderr) == (0, "")
    _, _, drafted, rows, ended, end_rows = done.stdout.rstrip("\n").split("\n\n")
    assert drafted.startswith('At token 2, after "a", bora alone writes something else.')
    assert rows.splitlines() == [
        '  ada       " b" 0.75  END 0.20',
        "  bora      would write another token (0.12)",
        "  cleo      has no token that starts here",
        '  together  " b" 0.75',
    ]
    assert ended.startswith('At token 3, after "a b", cleo alone writes something else.')
    assert end_rows == "  together  END 0.90"


@pytest.mark.parametrize(("reason", "differs"), [("length", False), ("stop", True)])
def test_a_text_cut_off_is_no_difference(
    stranger: Callable[..., str], reason: str, differs: bool
) -> None:
    done = call("x", "--url", stranger(recorded({"ada": "a"}, reason)))
    assert ("ada alone writes something else" in done.stdout) == differs
    assert ("Each member alone writes the same" in done.stdout) != differs


def test_colours_and_control_characters(stranger: Callable[..., str]) -> None:
    url = stranger(recorded({"ada": "a \x1b[2J c"}))
    plain = call("x\x1b[2J", "--url", url)
    assert "\x1b" not in plain.stdout and "a \ufffd[2J c" in plain.stdout
    coloured = call("x", "--url", url, FORCE_COLOR="1")
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured.stdout) == call("x", "--url", url).stdout
    assert "\x1b[31ma \ufffd[2J c\x1b[0m" in coloured.stdout
