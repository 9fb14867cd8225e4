"""The real server on the demo members, which the tests of clients share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server_process import demo_config, running

DEMO = ("ada", "bora", "cleo")


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where it listens; all members in one process, as that starts sooner."""
    folder: Path = tmp_path_factory.mktemp("server")
    with running(demo_config(folder, DEMO, ray={"enabled": False})) as server:
        yield server.url


@pytest.fixture(scope="session")
def narrow_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that writes one text at a time, and lets one other wait."""
    folder: Path = tmp_path_factory.mktemp("narrow")
    engine = {"max_sequences": 1, "max_queued": 1}
    with running(demo_config(folder, ("ada",), ray={"enabled": False}, engine=engine)) as server:
        yield server.url
