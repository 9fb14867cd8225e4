"""Bodies for `/v1`, and its streams read and put together again as clients do."""

import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.support.client import Answer, ask

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
JSON = {"Content-Type": "application/json"}


def said(text: str = "the cat", **fields: Any) -> dict[str, Any]:
    """A chat of one message."""
    return {"messages": [{"role": "user", "content": text}], **fields}


def post(url: str, path: str, body: Any) -> Answer:
    """POST a body as JSON."""
    return ask(url, "POST", path, json.dumps(body).encode(), JSON)


def ok(url: str, path: str, body: Any) -> dict[str, Any]:
    """The answer to a body that is accepted."""
    answer = post(url, path, body)
    assert answer.status == 200, answer
    return answer.body


def refused(url: str, path: str, body: Any, status: int = 400) -> dict[str, Any]:
    """The error of a body that is not accepted."""
    answer = post(url, path, body)
    assert answer.status == status, answer
    assert len(answer.error["message"]) < 500
    return answer.error


def texts_of(answer: dict[str, Any]) -> list[str]:
    """The text of each choice of a whole answer."""
    assert [choice["index"] for choice in answer["choices"]] == list(range(len(answer["choices"])))
    return [
        choice["message"]["content"] if "message" in choice else choice["text"]
        for choice in answer["choices"]
    ]


def open_stream(
    url: str, path: str, body: Any
) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    """POST a body with `stream` and read nothing yet; the connection is the caller's to close."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60.0)
    connection.request("POST", path, json.dumps({**body, "stream": True}), JSON)
    return connection, connection.getresponse()


def lines_of(response: http.client.HTTPResponse) -> Iterator[str]:
    """What each event holds, in order: a comment with its colon, `[DONE]`, or JSON."""
    assert response.status == 200, response.read()
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    while line := response.readline().decode():
        assert response.readline() == b"\n", "an event has one line"
        assert line.startswith((":", "data: ")), line
        yield line.rstrip("\n").removeprefix("data: ")


@dataclass
class Choice:
    """One choice of a stream, with all its chunks."""

    chunks: list[dict[str, Any]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Its pieces joined."""
        return "".join(map(piece_of, self.chunks))

    @property
    def finish_reason(self) -> str | None:
        """Told in its last chunk, and in no other."""
        reasons = [chunk["finish_reason"] for chunk in self.chunks]
        assert reasons[:-1] == [None] * (len(reasons) - 1)
        return reasons[-1]

    def logprobs(self, key: str) -> list[Any]:
        """A list of its log-probabilities, of all chunks."""
        told = [chunk["logprobs"] for chunk in self.chunks if chunk["logprobs"]]
        return [entry for one in told for entry in one[key]]


def piece_of(chunk: dict[str, Any]) -> str:
    """The text that a choice's chunk adds."""
    return chunk["delta"].get("content", "") if "delta" in chunk else chunk["text"]


@dataclass
class Streamed:
    """A stream that was read to its end."""

    chunks: list[dict[str, Any]]
    choices: list[Choice]
    error: dict[str, Any] | None = None

    @property
    def usage(self) -> dict[str, Any] | None:
        """What the last chunk tells, which has no choice then."""
        assert not self.chunks[-1]["choices"]
        return self.chunks[-1]["usage"]


def streamed(url: str, path: str, body: Any) -> Streamed:
    """The stream of a body, checked for its form; its last line is `[DONE]` or an error."""
    connection, response = open_stream(url, path, body)
    try:
        lines = [line for line in lines_of(response) if not line.startswith(":")]
    finally:
        connection.close()
    chunks = [json.loads(line) for line in lines[:-1]]
    error = None if lines[-1] == "[DONE]" else json.loads(lines[-1])["error"]
    count = 1 + max((one["index"] for chunk in chunks for one in chunk["choices"]), default=-1)
    choices = [Choice() for _ in range(count)]
    for chunk in chunks:
        for one in chunk["choices"]:
            choices[one["index"]].chunks.append(one)
    assert len({(chunk["id"], chunk["object"], chunk["model"]) for chunk in chunks}) == 1
    return Streamed(chunks, choices, error)
