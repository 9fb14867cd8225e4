"""Every metric is documented, and what is documented exists."""

import re
from pathlib import Path

import pytest

from gac.engine.service import Service
from gac.server.metrics_routes import registry_for
from gac.server.request_metrics import RequestMetrics
from tests.support.fake_service import fake_config
from tests.support.scrape import exported

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def names() -> set[str]:
    registry = registry_for(Service(fake_config()))
    RequestMetrics(registry)
    return {name for name in exported(registry) if not name.startswith("process_")}


def test_the_table_names_every_metric_and_no_other(names: set[str]) -> None:
    page = (DOCS / "operations.md").read_text("utf-8")
    assert set(re.findall(r"`(gac_\w+)[`{]", page)) == names
    assert len(names) > 30
