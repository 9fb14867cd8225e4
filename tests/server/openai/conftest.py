"""One server of three members that chat, for the tests that only ask."""

from collections.abc import Iterator

import pytest

from tests.support.choices import NAMES, TRIO
from tests.support.fake_service import PLAIN, Fakes, fake_config, fakes_for, ready


@pytest.fixture(scope="package")
def fakes() -> Fakes:
    """Members that hold 300 tokens and seldom end by themselves."""
    templates = dict.fromkeys(NAMES, PLAIN)
    return fakes_for(fake_config(NAMES), templates, TRIO, end_bias=-5.0, max_context=300)


@pytest.fixture(scope="package")
def url(fakes: Fakes) -> Iterator[str]:
    """A server of these."""
    with ready(fakes) as url:
        yield url
