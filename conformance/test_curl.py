"""The real curl: lines of server-sent events, error bodies, and a client that goes away."""

import json
import shutil
import subprocess
import time
from typing import Any

import pytest

CURL = shutil.which("curl") or ""
pytestmark = pytest.mark.skipif(not CURL, reason="there is no curl")

CHAT = {"model": "gac", "messages": [{"role": "user", "content": "What is the capital of Norway?"}]}
OSLO = "The capital of Norway is Oslo."


def curl(*arguments: str, body: Any = None) -> str:
    """Its standard output."""
    data = ("--json", json.dumps(body)) if body is not None else ()
    command = [CURL, "--silent", "--show-error", "--max-time", "60", *data, *arguments]
    return subprocess.run(command, capture_output=True, check=True, encoding="utf-8").stdout


def status(url: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(curl(f"{url}/status"))
    return found


def test_chat(url: str) -> None:
    answer = json.loads(curl(f"{url}/v1/chat/completions", body=CHAT))
    assert answer["choices"][0]["message"]["content"] == OSLO


def test_a_stream_is_lines_of_data_that_end_with_done(url: str) -> None:
    output = curl("-N", "-i", f"{url}/v1/chat/completions", body={**CHAT, "stream": True})
    head, _, body = output.replace("\r\n", "\n").partition("\n\n")
    assert head.startswith("HTTP/1.1 200")
    assert "content-type: text/event-stream" in head.lower()
    assert "cache-control: no-cache" in head.lower()
    events = [event for event in body.split("\n\n") if event and not event.startswith(":")]
    assert all(event.startswith("data: ") and "\n" not in event for event in events)
    assert events[-1] == "data: [DONE]"
    deltas = [json.loads(event[6:])["choices"][0]["delta"] for event in events[:-1]]
    assert deltas[0]["role"] == "assistant"
    assert "".join(delta.get("content") or "" for delta in deltas) == OSLO


def test_tokens_come_one_by_one(url: str) -> None:
    long = {**CHAT, "stream": True, "max_tokens": 100, "ignore_eos": True}
    command = [CURL, "-sN", "--json", json.dumps(long), f"{url}/v1/chat/completions"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        times = [time.monotonic() for line in process.stdout if line.startswith(b"data: ")]
    assert len(times) > 50
    # Sent together at the end, all would arrive within milliseconds.
    assert times[-1] - times[0] > 0.2
    assert times[len(times) // 2] - times[0] > 0.3 * (times[-1] - times[0])


@pytest.mark.parametrize(
    ("sent", "code", "param"),
    [
        ({**CHAT, "temperature": -1}, 400, "temperature"),
        ({**CHAT, "model": "gpt-9"}, 404, "model"),
        ({"model": "gac"}, 400, "messages"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_have_a_status_and_one_body(
    url: str, sent: dict[str, Any], code: int, param: str, stream: bool
) -> None:
    body = {**sent, "stream": stream}
    output = curl("-w", "\n%{http_code}", f"{url}/v1/chat/completions", body=body)
    text, _, http_code = output.rpartition("\n")
    assert int(http_code) == code
    error = json.loads(text)["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["param"] == param


def test_a_body_that_is_no_json(url: str) -> None:
    address = f"{url}/v1/chat/completions"
    for text in ("{", "", "[]", "nothing"):
        flags = ("-w", "\n%{http_code}", "-H", "Content-Type: application/json")
        output = curl(*flags, "--data-binary", text, address)
        body, _, http_code = output.rpartition("\n")
        assert int(http_code) == 400 and json.loads(body)["error"]["message"]


def test_curl_that_is_stopped_frees_its_sequence(url: str) -> None:
    long = {**CHAT, "max_tokens": 1500, "ignore_eos": True}
    for stream in (True, False):
        aborted = status(url)["num_aborted"]
        body = json.dumps({**long, "stream": stream})
        command = [CURL, "-sN", "--json", body, f"{url}/v1/chat/completions"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            while status(url)["num_running"] == 0:
                time.sleep(0.01)
            process.kill()
        time.sleep(0.5)
        now = status(url)
        assert (now["num_running"], now["num_aborted"]) == (0, aborted + 1)
