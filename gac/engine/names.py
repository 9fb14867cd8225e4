"""What requests and their texts are called in the engine and in log lines.

Names in the engine are unique.  What a client calls its request need not be, so it gets an ending.
"""

import logging
import uuid
from collections.abc import MutableMapping
from typing import Any


def new_name() -> str:
    """A name that nobody else has; without a dot, and short enough for a log line."""
    return uuid.uuid4().hex[:16]


def batch_named_by(client: str) -> str:
    """A unique name for what a client calls so."""
    return f"{client}.{uuid.uuid4().hex[:8]}"


def text_name(batch: str, place: int) -> str:
    """The name of one of a request's texts."""
    return f"{batch}-{place}"


def batch_of(text: str) -> str:
    """The name of the request that a text belongs to."""
    return text.rpartition("-")[0]


def called(text: str) -> str:
    """What the client calls the request that a text belongs to; else the name it was given."""
    batch = batch_of(text)
    return batch.rpartition(".")[0] or batch


class _About(logging.LoggerAdapter[logging.Logger]):
    """A logger whose lines are about one text."""

    def __init__(self, logger: logging.Logger, text: str) -> None:
        super().__init__(logger, {"request_id": called(text)})
        self._text = text

    def process(self, msg: object, kwargs: MutableMapping[str, Any]) -> Any:
        """Say of which."""
        return super().process(f"request {self._text}: {msg}", kwargs)


def about(logger: logging.Logger, text: str) -> _About:
    """A logger whose lines name a text, whatever thread they come from."""
    return _About(logger, text)
