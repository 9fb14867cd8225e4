"""GET /metrics: what Prometheus reads."""

from collections.abc import Iterator

from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.exposition import choose_encoder

from gac.engine.service import Service
from gac.server.engine_metrics import EngineMetrics

MEDIA_TYPES = ("text/plain", "application/openmetrics-text")


class _Registry(CollectorRegistry):
    """One without a second series for each counter that says when it was created."""

    def collect(self) -> Iterator[Metric]:
        for metric in super().collect():
            metric.samples = [one for one in metric.samples if not one.name.endswith("_created")]
            yield metric


def registry_for(service: Service) -> CollectorRegistry:
    """One application's registry, with the metrics of its engine and its process."""
    registry = _Registry()
    registry.register(EngineMetrics(service))
    ProcessCollector(registry=registry)
    return registry


def metrics_router(registry: CollectorRegistry) -> APIRouter:
    """A route that answers from the start, however the service is."""
    router = APIRouter()
    content: dict[str, object] = {
        media_type: {"schema": {"type": "string"}} for media_type in MEDIA_TYPES
    }

    @router.get("/metrics", response_class=Response, responses={200: {"content": content}})
    async def metrics(request: Request) -> Response:
        """All metrics, as text for Prometheus or, where a client accepts it, OpenMetrics."""
        encode, media_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"Content-Type": media_type})

    return router
