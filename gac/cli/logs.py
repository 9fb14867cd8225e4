"""The form of log lines: text for people, or one JSON object a line."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal

import typer

from gac.errors import GacError
from gac.server.exchange import current_exchange

LogFormat = Literal["text", "json"]

logger = logging.getLogger(__name__)


def request_id_of(record: logging.LogRecord) -> str | None:
    """The id of the request that a line is about: its logger says so, or who works on it."""
    told: str | None = getattr(record, "request_id", None)
    if told is not None:
        return told
    exchange = current_exchange()
    return None if exchange is None else exchange.request_id


class TextLines(logging.Formatter):
    """Time, level and message; with the id of a request that the message does not name itself."""

    def __init__(self, with_source: bool) -> None:
        source = " %(name)s:" if with_source else ""
        super().__init__(f"%(asctime)s %(levelname)s{source} %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """One line, but for tracebacks, which follow it."""
        request_id = request_id_of(record)
        if request_id is not None and request_id not in record.message:
            record.message = f"[{request_id}] {record.message}"
        return super().formatMessage(record)


class JsonLines(logging.Formatter):
    """One object a line, in ASCII; a record's `fields` are members of it."""

    def format(self, record: logging.LogRecord) -> str:
        """Time (UTC), level, logger, message; request_id, fields and a traceback if there are."""
        at = datetime.fromtimestamp(record.created, UTC)
        said: dict[str, Any] = {
            "time": at.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (request_id := request_id_of(record)) is not None:
            said["request_id"] = request_id
        said |= getattr(record, "fields", {})
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            said["stack"] = record.stack_info
        return json.dumps(said, default=str)


def use_log_format(name: LogFormat) -> None:
    """Write all lines so from now on: ours, uvicorn's, other libraries' and Python's warnings."""
    level = logging.getLogger().level
    lines = JsonLines() if name == "json" else TextLines(with_source=level <= logging.DEBUG)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(lines)
    logging.captureWarnings(name == "json")


@contextmanager
def errors_in(name: LogFormat) -> Iterator[None]:
    """In JSON, the error that ends a command is a line of the log, too.

    Raises: Exit in place of it.
    """
    try:
        yield
    except GacError as error:
        if name != "json":
            raise
        logger.critical("%s", error.message)
        raise typer.Exit(error.exit_code) from error
