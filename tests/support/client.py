"""An HTTP client of the standard library, small enough that a test shows what is on the wire."""

import http.client
import json
from collections.abc import Iterable, Mapping
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


def generate(url: str, body: Any, path: str = "/api/generate") -> Answer:
    """POST a body, as it is or as JSON, to the original's endpoint."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ask(url, "POST", path, data, {"Content-Type": "application/json"})


def get(url: str, path: str) -> Answer:
    """GET a path."""
    return ask(url, "GET", path)


def one(text: str, **fields: Any) -> dict[str, Any]:
    """A body with one conversation of one message."""
    return {"messages_list": [[{"role": "user", "content": text}]], **fields}
