"""What the log says of requests: their ends, refusals, clients that left, and how much is at work.

Numbers, names and reasons; never a prompt or an answer.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from gac.core import GenerateRequest
from gac.engine.service import Service
from gac.engine.writer import WrittenText
from gac.errors import EngineUnavailable, GacError
from gac.model.templates import REFUSED_BY_TEMPLATE
from gac.server.exchange import current_exchange, note_failure

logger = logging.getLogger(__name__)

INTERVAL_S = 10.0
LONGEST_REASON = 200
"""Characters."""


class RequestLog:
    """The lines about one request; times are by `time.monotonic`."""

    def __init__(self, requests: Sequence[GenerateRequest], started_at: float) -> None:
        first = requests[0]
        self._name = first.request_id.rpartition("-")[0]
        self._strategy = "default" if first.strategy is None else first.strategy.name
        self._started_at = started_at

    def end(
        self, texts: Sequence[WrittenText], first_at: float | None, hints: Sequence[str]
    ) -> None:
        """All texts have ended; the first event came at `first_at`."""
        seconds = time.monotonic() - self._started_at
        ends = [text.finish for text in texts]
        num_tokens = sum(end.completion_tokens for end in ends)
        ensembled = sum(end.ensembled_tokens for end in ends) / max(num_tokens, 1)
        logger.info(
            "request %s: %s, %d %s, %d tokens (%.0f %% ensembled), first after %.2f s, "
            "%.1f tokens/s, finished by %s%s",
            self._name,
            self._strategy,
            len(texts),
            "text" if len(texts) == 1 else "texts",
            num_tokens,
            100 * ensembled,
            (first_at or time.monotonic()) - self._started_at,
            num_tokens / seconds,
            _counted([end.reason.value for end in ends]),
            "".join(f"; hint: {hint}" for hint in hints),
        )

    def client_left(self) -> None:
        """The client went away; what still ran was aborted."""
        current_exchange().has_client_left = True
        seconds = time.monotonic() - self._started_at
        logger.info(
            "request %s: the client left after %.2f s, its texts are aborted", self._name, seconds
        )

    def failed(self, error: GacError) -> None:
        """It failed after its first byte was sent."""
        note_failure(error)
        logger.warning("request %s: failed: %s", self._name, reason_of(error))


def log_refusal(error: GacError, status: int) -> None:
    """A request was answered with an error."""
    note_failure(error)
    field = f" ({_printable(error.param)})" if error.param else ""
    if status < 500:
        logger.info("refused with %d%s: %s", status, field, reason_of(error))
    else:
        logger.warning("failed with %d%s: %s", status, field, reason_of(error))


def reason_of(error: GacError) -> str:
    """An error's message on one line, without what a chat template says of the conversation."""
    message = error.message
    if error.code == REFUSED_BY_TEMPLATE:
        message = message.partition(": ")[0]
    return _printable(message)


def _counted(reasons: Sequence[str]) -> str:
    """["stop", "length", "stop"] -> "stop (2), length (1)"; of one text only the reason."""
    if len(reasons) == 1:
        return reasons[0]
    return ", ".join(f"{reason} ({count})" for reason, count in Counter(reasons).items())


def _printable(text: str) -> str:
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
            logger.info("running %d, waiting %d, %.1f tokens/s", running, waiting, per_second)
        before, at = tokens, now
