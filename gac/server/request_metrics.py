"""What is counted and timed of requests: on the event loop, from the events that pass there.

Costs about 2 microseconds a token: one observation of a histogram.  Never takes a lock that the
engine's thread waits for.
"""

from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import Scope

from gac.core import Event, FinishEvent, FinishReason, GenerateRequest, TokenEvent
from gac.server.exchange import Exchange, current_exchange

SHORT_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.5)
"""Between tokens."""
LONG_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Of whole requests, and up to their first token."""


class RequestMetrics:
    """Metrics of requests, in an application's registry; belongs to its event loop."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def timed(name: str, what: str, buckets: Sequence[float] = LONG_S) -> Histogram:
            return Histogram(f"gac_{name}_seconds", what, buckets=buckets, registry=registry)

        def counted(name: str, what: str, *labels: str) -> Counter:
            return Counter(f"gac_{name}", what, labels, registry=registry)

        self.first_token = timed(
            "time_to_first_token", "From a request's arrival to a text's first token"
        )
        self.between_tokens = timed("inter_token_latency", "Between two tokens of a text", SHORT_S)
        self.whole = timed("e2e_request_latency", "From a request's arrival to a text's end")
        self.queue = timed("request_queue_time", "A text waits for room in the engine")
        self.prefill = timed("request_prefill_time", "From when a text may run to its first token")
        self.decode = timed("request_decode_time", "From a text's first token to its last")
        self.prompt_tokens = counted(
            "prompt_tokens", "Tokens of prompts that were answered, by member", "member"
        )
        self.ends = counted("request_success", "Texts that ended", "finished_reason")
        for reason in FinishReason:
            self.ends.labels(reason.value)  # so that there is a 0 before the first
        self.failures = counted(
            "request_failures", "HTTP requests that were refused or failed", "code", "status"
        )
        self.clients_left = counted("clients_left", "Clients that left before their answer's end")
        self.exchanges = counted("http_requests", "HTTP requests answered", "route", "status")

    def note_end(self, scope: Scope, exchange: Exchange) -> None:
        """An HTTP request has been answered, or its client has left."""
        status = str(exchange.final_status)
        path: str = getattr(scope.get("route"), "path", "none")  # bounded, as a path is not
        self.exchanges.labels(path.rstrip("/"), status).inc()
        if exchange.failure is not None:
            self.failures.labels(exchange.failure, status).inc()
        if exchange.has_client_left:
            self.clients_left.inc()

    def reading(self, requests: Sequence[GenerateRequest], submitted_at: float) -> "Reading":
        """What observes the events of these requests, which were given to the engine just now."""
        return Reading(self, requests, submitted_at)


class Reading:
    """The events of one stream, as they are read."""

    def __init__(
        self, metrics: RequestMetrics, requests: Sequence[GenerateRequest], submitted_at: float
    ) -> None:
        self._metrics = metrics
        self._open = {request.request_id: request for request in requests}
        exchange = current_exchange()
        self._arrived_at = submitted_at if exchange is None else exchange.arrived_at
        self._submitted_at = submitted_at
        self._first_at: dict[str, float] = {}
        self._last_at: dict[str, float] = {}

    def take(self, events: Iterable[Event]) -> None:
        """Observe some events; forced tokens, which belong to an echoed prompt, are not written."""
        last_at, observe = self._last_at, self._metrics.between_tokens.observe
        for event in events:
            name = event.request_id
            if isinstance(event, TokenEvent):
                if event.pick.position < self._open[name].num_forced:
                    continue
                before = last_at.get(name)
                if before is not None:
                    observe(event.at - before)
                else:
                    self._first_at[name] = event.at
                    self._metrics.first_token.observe(event.at - self._arrived_at)
                last_at[name] = event.at
            else:
                request = self._open.pop(name)
                if isinstance(event, FinishEvent):
                    self._end(request, event)

    def _end(self, request: GenerateRequest, event: FinishEvent) -> None:
        metrics, first_at = self._metrics, self._first_at.get(event.request_id)
        metrics.ends.labels(event.reason.value).inc()
        metrics.whole.observe(event.at - self._arrived_at)
        if request.sampling.choice == 0:  # the choices of an entry share its prompt
            for member, count in event.prompt_tokens.items():
                metrics.prompt_tokens.labels(member).inc(count)
        if event.admitted_at is None:
            return
        metrics.queue.observe(event.admitted_at - self._submitted_at)
        if first_at is not None:
            metrics.prefill.observe(first_at - event.admitted_at)
            metrics.decode.observe(self._last_at[event.request_id] - first_at)

    def close(self) -> None:
        """Nothing more is read; what has not ended is aborted."""
        self._metrics.ends.labels(FinishReason.ABORT.value).inc(len(self._open))
        self._open.clear()
