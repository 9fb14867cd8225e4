"""What is logged within a block, as `--log-format json` writes it."""

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from gac.cli.logs import JsonLines


@dataclass(frozen=True)
class JsonLog:
    """The lines so far."""

    stream: io.StringIO

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Each line is one object."""
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    def about(self, request_id: str) -> list[dict[str, Any]]:
        """The lines about one request."""
        return [line for line in self.lines if line.get("request_id") == request_id]


@contextmanager
def json_log() -> Iterator[JsonLog]:
    """Log at level info, beside what else is set up."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    root, ours = logging.getLogger(), logging.getLogger("gac")
    before = ours.level
    root.addHandler(handler)
    ours.setLevel(logging.INFO)
    try:
        yield JsonLog(stream)
    finally:
        root.removeHandler(handler)
        ours.setLevel(before)
