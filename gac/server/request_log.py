"""What the log says of requests: their ends, refusals, clients that left, and how much is at work.

Numbers, names and reasons; never a prompt or an answer.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from gac.core import GenerateRequest
from gac.engine.names import called
from gac.engine.service import Service
from gac.engine.writer import WrittenText
from gac.errors import EngineUnavailable, GacError
from gac.model.templates import REFUSED_BY_TEMPLATE
from gac.server.exchange import note_client_left, note_failure

logger = logging.getLogger(__name__)

INTERVAL_S = 10.0
LONGEST_REASON = 200
"""Characters."""
END_LINE = (
    "request %(name)s: %(strategy)s, %(num_texts)d %(texts)s, %(num_tokens)d tokens "
    "(%(percent).0f %% ensembled), first after %(first_s).2f s, %(tokens_per_s).1f tokens/s, "
    "finished by %(finished_by)s%(hints)s"
)

Fields = Mapping[str, Any]


class RequestLog:
    """The lines about one request; times are by `time.monotonic`."""

    def __init__(self, requests: Sequence[GenerateRequest], started_at: float) -> None:
        first = requests[0]
        self._name = called(first.request_id)
        self._strategy = "default" if first.strategy is None else first.strategy.name
        self._started_at = started_at

    def end(
        self, texts: Sequence[WrittenText], first_at: float | None, hints: Sequence[str]
    ) -> None:
        """All texts have ended; the first event came at `first_at`."""
        now, ends = time.monotonic(), [text.finish for text in texts]
        num_tokens = sum(end.completion_tokens for end in ends)
        about = {
            "strategy": self._strategy,
            "num_texts": len(texts),
            "num_tokens": num_tokens,
            "ensembled_ratio": sum(end.ensembled_tokens for end in ends) / max(num_tokens, 1),
            "first_s": (first_at or now) - self._started_at,
            "seconds": now - self._started_at,
            "tokens_per_s": num_tokens / (now - self._started_at),
            "finished_by": _counted([end.reason.value for end in ends]),
        }
        words = {
            "name": self._name,
            "texts": "text" if len(texts) == 1 else "texts",
            "percent": 100 * sum(end.ensembled_tokens for end in ends) / max(num_tokens, 1),
            "hints": "".join(f"; hint: {hint}" for hint in hints),
        }
        _say(logging.INFO, "end", END_LINE, about, words)

    def client_left(self) -> None:
        """The client went away; what still ran was aborted."""
        note_client_left()
        about = {"seconds": time.monotonic() - self._started_at}
        line = "request %(name)s: the client left after %(seconds).2f s, its texts are aborted"
        _say(logging.INFO, "client_left", line, about, {"name": self._name})

    def failed(self, error: GacError) -> None:
        """It failed after its first byte was sent."""
        note_failure(error)
        words = {"name": self._name, "reason": reason_of(error)}
        line = "request %(name)s: failed: %(reason)s"
        _say(logging.WARNING, "failed", line, _code_of(error), words)


def log_refusal(error: GacError, status: int) -> None:
    """A request was answered with an error."""
    note_failure(error)
    about = {"status": status, **_code_of(error)}
    field = f" ({about['param']})" if "param" in about else ""
    words = {"field": field, "reason": reason_of(error)}
    if status < 500:
        line = "refused with %(status)d%(field)s: %(reason)s"
        _say(logging.INFO, "refused", line, about, words)
    else:
        line = "failed with %(status)d%(field)s: %(reason)s"
        _say(logging.WARNING, "failed", line, about, words)


def _say(level: int, event: str, line: str, about: Fields, words: Fields) -> None:
    """Log a line made of both; `about` goes with it for those who read logs by program."""
    fields = {"event": event, **about}
    logger.log(level, line, {**about, **words}, extra={"fields": fields})


def _code_of(error: GacError) -> dict[str, Any]:
    """What programs tell errors by."""
    about = {"code": error.code or error.error_type}
    return {**about, "param": printable(error.param)} if error.param else about


def reason_of(error: GacError) -> str:
    """An error's message on one line, without what a chat template says of the conversation."""
    message = error.message
    if error.code == REFUSED_BY_TEMPLATE:
        message = message.partition(": ")[0]
    return printable(message)


def _counted(reasons: Sequence[str]) -> str:
    """["stop", "length", "stop"] -> "stop (2), length (1)"; of one text only the reason."""
    if len(reasons) == 1:
        return reasons[0]
    return ", ".join(f"{reason} ({count})" for reason, count in Counter(reasons).items())


def printable(text: str) -> str:
    """A client's words on one line, cut if they are long."""
    cut = text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)


@asynccontextmanager
async def activity_logged(service: Service) -> AsyncIterator[None]:
    """Within the block, a line every so often while there is work."""
    task = asyncio.create_task(_log_activity(service))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _log_activity(service: Service) -> None:
    before, at = 0, time.monotonic()
    while True:
        await asyncio.sleep(INTERVAL_S)
        try:
            engine = service.engine
        except EngineUnavailable:
            continue
        tokens, now = engine.metrics.tokens, time.monotonic()
        running, waiting = engine.num_running, engine.num_waiting
        if running or waiting or tokens != before:
            per_second = (tokens - before) / (now - at)
            about = {"running": running, "waiting": waiting, "tokens_per_s": per_second}
            line = "running %(running)d, waiting %(waiting)d, %(tokens_per_s).1f tokens/s"
            _say(logging.INFO, "activity", line, about, {})
        before, at = tokens, now
