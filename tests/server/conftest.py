"""One server on fakes for the tests that only ask."""

from collections.abc import Iterator

import pytest

from tests.support.fake_service import Fakes, fakes_for, ready


@pytest.fixture(scope="session")
def fakes() -> Fakes:
    """The fakes behind `url`."""
    return fakes_for(end_bias=-5.0, max_context=300)


@pytest.fixture(scope="session")
def url(fakes: Fakes) -> Iterator[str]:
    """A server whose members hold 300 tokens and seldom end by themselves."""
    with ready(fakes) as url:
        yield url
