"""Every metric is documented and on the dashboard, and what these name exists."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gac.engine.service import Service
from gac.server.metrics_routes import registry_for
from gac.server.request_metrics import RequestMetrics
from tests.support.choices import BASE, trio
from tests.support.client import generate, open_stream
from tests.support.fake_service import fake_config, ready, until
from tests.support.scrape import Scrape, exported, scrape

DOCS = Path(__file__).parents[2] / "docs"
DASHBOARD = json.loads((DOCS / "grafana.json").read_text("utf-8"))
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
CHARTS = [panel for panel in PANELS if panel["type"] != "row"]
EXPRESSIONS = [target["expr"] for panel in CHARTS for target in panel["targets"]]
METRIC = re.compile(r"\b((?:gac|process)_\w+)\{([^}]*)\}")
COLUMNS = 24


@pytest.fixture(scope="module")
def names() -> set[str]:
    registry = registry_for(Service(fake_config()))
    RequestMetrics(registry)
    return exported(registry)


@pytest.fixture(scope="module")
def seen() -> Iterator[Scrape]:
    """What a server says that has answered, refused and lost a client."""
    with ready(trio()) as url:
        generate(url, BASE)
        generate(url, {**BASE, "top_p": 7})
        connection, response = open_stream(url, {**BASE, "max_new_tokens": 200})
        response.close()
        connection.close()
        assert until(lambda: scrape(url).value("gac_http_requests_total", **ANSWERED))
        yield scrape(url)


ANSWERED = {"route": "/api/generate", "status": "200"}


def ours(names: set[str]) -> set[str]:
    return {name for name in names if name.startswith("gac_")}


def test_the_table_names_every_metric_and_no_other(names: set[str]) -> None:
    page = (DOCS / "operations.md").read_text("utf-8")
    assert set(re.findall(r"`(gac_\w+)[`{]", page)) == ours(names)
    assert len(ours(names)) > 30


def test_the_table_names_the_labels(seen: Scrape) -> None:
    page = (DOCS / "operations.md").read_text("utf-8")
    told = {
        name: set(labels.split(",")) - {""}
        for name, labels in re.findall(r"`(gac_\w+)(?:\{([\w,]+)\})?`", page)
    }
    labels = labels_of(seen)
    histograms = {name for name in told if f"{name}_count" in labels}
    assert all(labels[f"{name}_count"] == told[name] == set() for name in histograms)
    assert {name: labels[name] for name in told.keys() - histograms} == {
        name: told[name] for name in told.keys() - histograms
    }


def labels_of(seen: Scrape) -> dict[str, set[str]]:
    """By the name of a sample, its labels."""
    found: dict[str, set[str]] = defaultdict(set)
    for family in seen.families:
        for sample in family.samples:
            found[sample.name] |= set(sample.labels)
    return found


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_what_the_dashboard_queries_exists(expression: str, seen: Scrape) -> None:
    labels = labels_of(seen)
    asked = METRIC.findall(expression)
    assert asked and len(asked) == len(re.findall(r"\b(?:gac|process)_", expression))
    known = {"instance"}.union(*(labels[name] for name, _ in asked if name in labels))
    assert all(name in labels for name, _ in asked)
    assert all(selector == 'instance=~"$instance"' for _, selector in asked)
    for grouped in re.findall(r"by \(([^)]*)\)", expression):
        assert set(grouped.split(", ")) <= known
    assert expression.count("(") == expression.count(")")
    ranges = re.findall(r"rate\(", expression)
    assert len(ranges) == expression.count("}[$__rate_interval])")
    assert all(f"rate({name}" in expression for name, _ in asked if name.endswith("_bucket"))


def test_counters_are_shown_as_rates_and_gauges_as_they_are(seen: Scrape) -> None:
    kinds = {sample.name: family.type for family in seen.families for sample in family.samples}
    totals = ("gac_member_losses_total", "gac_member_restarts_total")  # too seldom for a rate
    for expression in EXPRESSIONS:
        for name, _ in METRIC.findall(expression):
            is_rate = f"rate({name}{{" in expression
            assert is_rate is (kinds[name] in ("counter", "histogram")) or name in totals


def test_every_metric_is_on_the_dashboard(names: set[str]) -> None:
    shown = {name for expression in EXPRESSIONS for name, _ in METRIC.findall(expression)}
    assert {re.sub("_(bucket|sum|count)$", "", name) for name in shown} >= ours(names)


def test_legends_name_labels_of_their_query() -> None:
    for panel in CHARTS:
        for target in panel["targets"]:
            told = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            grouped = {
                label
                for labels in re.findall(r"by \(([^)]*)\)", target["expr"])
                for label in labels.split(", ")
            }
            assert told == grouped - {"le"}, target


def test_panels_fill_the_grid_without_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken and at["x"] + at["w"] <= COLUMNS
        taken |= cells
    assert len(taken) == COLUMNS * (1 + max(y for _, y in taken)), "a hole"
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)


def test_one_variable_names_the_data_source_of_everything() -> None:
    variables = {one["name"]: one for one in DASHBOARD["templating"]["list"]}
    assert [n for n, one in variables.items() if one["type"] == "datasource"] == ["datasource"]
    assert variables["datasource"]["query"] == "prometheus"
    users = [*CHARTS, variables["instance"], *(t for panel in CHARTS for t in panel["targets"])]
    for user in users:
        assert user["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    for panel in CHARTS:
        letters = [target["refId"] for target in panel["targets"]]
        assert letters == sorted(set(letters))
    assert isinstance(DASHBOARD["schemaVersion"], int) and DASHBOARD["uid"] and DASHBOARD["title"]
