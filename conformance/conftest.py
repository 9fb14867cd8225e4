"""One server on the demo members, for all clients."""

from collections.abc import Iterator

import pytest

from conformance.servers import demo_server


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    """Where it listens."""
    with demo_server() as url:
        yield url
