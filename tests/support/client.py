"""An HTTP client of the standard library, small enough that a test shows what is on the wire."""

import http.client
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    """What came back; `body` is parsed JSON."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def error(self) -> dict[str, Any]:
        """The one error body, checked for its shape."""
        assert set(self.body["error"]) == {"message", "type", "param", "code"}, self.body
        assert isinstance(self.body["error"]["message"], str)
        assert self.body["error"]["message"].strip()
        return self.body["error"]


def ask(
    url: str,
    method: str,
    path: str,
    body: bytes | Iterable[bytes] | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 60.0,
) -> Answer:
    """One request on a connection of its own; an iterable body is sent in chunks."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)
    try:
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        text = response.read()
        return Answer(response.status, dict(response.getheaders()), json.loads(text or "null"))
    finally:
        connection.close()


def generate(url: str, body: Any, path: str = "/api/generate", timeout_s: float = 60.0) -> Answer:
    """POST a body, as it is or as JSON, to the original's endpoint."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ask(url, "POST", path, data, {"Content-Type": "application/json"}, timeout_s)


@dataclass(frozen=True)
class ServerSent:
    """One server-sent event; a comment has neither a name nor data."""

    name: str
    data: Any = None


def open_stream(url: str, body: Any) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    """POST a body with `stream` and read nothing yet; the connection is the caller's to close."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60.0)
    data = json.dumps({**body, "stream": True})
    connection.request("POST", "/api/generate", data, {"Content-Type": "application/json"})
    return connection, connection.getresponse()


def server_sent(response: http.client.HTTPResponse) -> Iterator[ServerSent]:
    """The events of a response as they come, checked for their form."""
    assert response.status == 200, response.read()
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    lines: list[str] = []
    while line := response.readline().decode():
        assert line.endswith("\n")
        if line != "\n":
            lines.append(line.rstrip("\n"))
            continue
        name = lines.pop(0).removeprefix("event: ") if lines[0].startswith("event: ") else ""
        [only] = lines
        lines = []
        if only.startswith(":"):
            yield ServerSent("")
        else:
            yield ServerSent(name or "message", json.loads(only.removeprefix("data: ")))
    assert not lines, "cut off"


def streamed(url: str, body: Any) -> list[ServerSent]:
    """All events of a body that is sent with `stream`."""
    connection, response = open_stream(url, body)
    try:
        return list(server_sent(response))
    finally:
        connection.close()


def get(url: str, path: str) -> Answer:
    """GET a path."""
    return ask(url, "GET", path)


def one(text: str, **fields: Any) -> dict[str, Any]:
    """A body with one conversation of one message."""
    return {"messages_list": [[{"role": "user", "content": text}]], **fields}
