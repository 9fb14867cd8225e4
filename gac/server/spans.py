"""OpenTelemetry spans of requests that write: one a request, and its phases as children.

Made when a request has ended, from times that are there anyway, so that nothing waits for them.
The packages are the extra `otel`, imported only by what is called where `server.tracing` is on.
The provider is never made the global one, which FastAPI would write spans of its own to.
"""

import time
from asyncio import to_thread
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from threading import Thread
from typing import TYPE_CHECKING

from starlette.types import Scope

import gac
from gac.config import Config
from gac.core import Event, FinishEvent, GenerateRequest, TokenEvent
from gac.engine.choice import reference_member
from gac.errors import ConfigError
from gac.server.exchange import Exchange, current_exchange
from gac.server.request_log import printable

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span

OPERATIONS = {
    "/api/generate": "chat",
    "/v1/chat/completions": "chat",
    "/v1/completions": "text_completion",
}
"""`gen_ai.operation.name` of each route that writes, by the GenAI semantic conventions."""
MISSING = (
    "server.tracing: OpenTelemetry is not installed.  Install it with: "
    "pip install 'gac-server[otel]' (in the repository: pip install -r requirements-otel.txt)"
)
CLIENT_LEFT = "client_left"
FLUSH_S = 2.0
"""How long the end of the server waits for spans that are still to be sent."""

Attributes = dict[str, str | int | float | Sequence[str]]


class Spans:
    """Makes spans of requests, as an application's observer; belongs to its event loop.

    Raises: ConfigError if the packages are not installed.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._provider = _provider()
        self._tracer = self._provider.get_tracer("gac", gac.__version__)
        self._readings: dict[str, Reading] = {}

    @asynccontextmanager
    async def sent(self) -> AsyncIterator[None]:
        """At the end of the block, spans that are left are sent, if a collector takes them."""
        try:
            yield
        finally:
            last = Thread(target=self._provider.shutdown, daemon=True)
            last.start()
            await to_thread(last.join, FLUSH_S)

    def reading(self, requests: Sequence[GenerateRequest], submitted_at: float) -> "Reading":
        """What observes the events of these requests, which were given to the engine just now."""
        reading = Reading(self._config, requests, submitted_at)
        if (exchange := current_exchange()) is not None:
            self._readings[exchange.name] = reading
        return reading

    def note_end(self, scope: Scope, exchange: Exchange) -> None:
        """An HTTP request has been answered, or its client has left."""
        from opentelemetry.propagate import extract
        from opentelemetry.trace import SpanKind, set_span_in_context

        reading = self._readings.pop(exchange.name, None)
        # Without a route where the body was too large to look for one.
        found = scope.get("route")
        path: str = scope["path"] if found is None else found.path
        route = path.rstrip("/")
        if scope["method"] != "POST" or route not in OPERATIONS:
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        since_epoch = time.time() - time.monotonic()
        span = self._tracer.start_span(
            f"POST {route}",
            context=extract(headers),
            kind=SpanKind.SERVER,
            attributes=_attributes(route, exchange) | (reading.attributes() if reading else {}),
            start_time=_ns(exchange.arrived_at + since_epoch),
        )
        _set_failure(span, exchange)
        inside = set_span_in_context(span)
        for name, begin, end in reading.phases() if reading else ():
            start_time = _ns(begin + since_epoch)
            child = self._tracer.start_span(name, context=inside, start_time=start_time)
            child.end(_ns(end + since_epoch))
        span.end()


class Reading:
    """The events of one request's texts, as they are read; times are by `time.monotonic`."""

    def __init__(
        self, config: Config, requests: Sequence[GenerateRequest], submitted_at: float
    ) -> None:
        self._requests = requests
        self._strategy = requests[0].strategy or config.strategy
        self._submitted_at = submitted_at
        self._first_at: float | None = None
        self._last_at = submitted_at
        self._ends: dict[str, FinishEvent] = {}

    def take(self, events: Iterable[Event]) -> None:
        """Observe some events."""
        for event in events:
            if isinstance(event, TokenEvent):
                if self._first_at is None:
                    self._first_at = event.at
                self._last_at = event.at
            elif isinstance(event, FinishEvent):
                self._ends[event.request_id] = event

    def close(self) -> None:
        """Nothing more is read; what has not ended is aborted."""

    def attributes(self) -> Attributes:
        """What is known of how it was written; counts are of the texts that ended."""
        reference = reference_member(list(self._requests[0].prompts), self._strategy)
        ended = [one for one in self._requests if one.request_id in self._ends]
        ends = [self._ends[one.request_id] for one in ended]
        about: Attributes = {"gac.strategy": self._strategy.name}
        if not ends:
            return about
        num_tokens = sum(end.completion_tokens for end in ends)
        return about | {
            "gen_ai.usage.input_tokens": sum(
                self._ends[one.request_id].prompt_tokens[reference]
                for one in ended
                if one.sampling.choice == 0  # the choices of an entry share its prompt
            ),
            "gen_ai.usage.output_tokens": num_tokens,
            "gen_ai.response.finish_reasons": [end.reason.value for end in ends],
            "gac.ensembled_token_ratio": sum(end.ensembled_tokens for end in ends)
            / max(num_tokens, 1),
        }

    def phases(self) -> list[tuple[str, float, float]]:
        """Name, begin and end of those that are known: queue and prefill, once all texts ended.

        Of several texts: up to the first that may run, to the first token, and to the last.
        """
        first_at, known = self._first_at, []
        admitted = [end.admitted_at for end in self._ends.values() if end.admitted_at is not None]
        if admitted and len(self._ends) == len(self._requests):
            known.append(("queue", self._submitted_at, min(admitted)))
            if first_at is not None:
                known.append(("prefill", min(admitted), first_at))
        if first_at is not None:
            known.append(("decode", first_at, self._last_at))
        return known


def _attributes(route: str, exchange: Exchange) -> Attributes:
    """What is known of every request."""
    about: Attributes = {
        "http.request.method": "POST",
        "http.route": route,
        "http.response.status_code": exchange.final_status,
        "gen_ai.operation.name": OPERATIONS[route],
        "gen_ai.provider.name": "gac",
        "gac.request_id": exchange.request_id,
    }
    return (
        about
        if exchange.model is None
        else about | {"gen_ai.request.model": printable(exchange.model)}
    )


def _set_failure(span: "Span", exchange: Exchange) -> None:
    """A client's mistake has an `error.type`, but is no error of the server."""
    from opentelemetry.trace import StatusCode

    failure = exchange.failure or (CLIENT_LEFT if exchange.has_client_left else None)
    if failure is None:
        return
    span.set_attribute("error.type", failure)
    has_begun_well = exchange.failure is not None and exchange.final_status < 400
    if exchange.final_status >= 500 or has_begun_well:
        span.set_status(StatusCode.ERROR)


def _provider() -> "TracerProvider":
    """One that sends to a collector in the background, as the variables OTEL_* say."""
    try:
        from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        exporter = _exporter()
    except ImportError as error:
        raise ConfigError(MISSING) from error
    is_named = SERVICE_NAME in OTELResourceDetector().detect().attributes
    resource = Resource.create({} if is_named else {SERVICE_NAME: "gac"})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)  # see `Spans.sent`
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def _exporter() -> "SpanExporter":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    exporter: SpanExporter = OTLPSpanExporter()
    return exporter


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
