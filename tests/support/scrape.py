"""What GET /metrics says, parsed as Prometheus does."""

import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Scrape:
    """The samples of one answer."""

    families: tuple[Metric, ...]

    def of(self, name: str) -> dict[Labels, float]:
        """All samples of a name, by their labels."""
        return {
            frozenset(sample.labels.items()): sample.value
            for family in self.families
            for sample in family.samples
            if sample.name == name
        }

    def value(self, name: str, **labels: str) -> float:
        """The one sample of a name with exactly these labels."""
        return self.of(name)[frozenset(labels.items())]

    def by(self, label: str, name: str) -> dict[str, float]:
        """A name's samples by the value of their only label."""
        return {value: number for [(_, value)], number in self._pairs(label, name)}

    def _pairs(self, label: str, name: str) -> Iterator[tuple[list[tuple[str, str]], float]]:
        for labels, number in self.of(name).items():
            assert {key for key, _ in labels} == {label}, labels
            yield list(labels), number


def scrape(url: str) -> Scrape:
    """GET /metrics."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=20.0) as response:
        assert response.headers["content-type"].startswith("text/plain; version=")
        return Scrape(tuple(text_string_to_metric_families(response.read().decode())))


def exported(registry: CollectorRegistry) -> set[str]:
    """The names of a registry's metrics as queries write them; a histogram's without its suffix."""
    endings = {"counter": "_total", "info": "_info"}
    return {family.name + endings.get(family.type, "") for family in registry.collect()}
