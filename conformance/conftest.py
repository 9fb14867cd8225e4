"""One server on the demo members, for all clients."""

import os
from collections.abc import Iterator

import pytest

from conformance.servers import demo_server

# Nothing is asked of other machines: litellm would fetch a price list, langchain could send traces.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
os.environ["LANGSMITH_TRACING"] = "false"


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    """Where it listens."""
    with demo_server() as url:
        yield url
