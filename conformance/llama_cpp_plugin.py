"""A pytest plugin for llama.cpp's server tests: addresses and names, and a record of outcomes.

The tests stay as they are. llama-server also answers without `/v1` and takes any model's name; here
the same requests go to `/v1` and to the model `gac`. Nothing else is changed.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_OPENAI_PATHS = ("/chat/completions", "/completions", "/models")
_outcomes: dict[str, bool] = {}
_messages: dict[str, str] = {}


@pytest.fixture(scope="session", autouse=True)
def addresses() -> None:
    """Send what is OpenAI's to `/v1`, and name our model."""
    import utils  # llama.cpp's, on pytest's path
    from openai.resources.chat.completions import Completions as ChatCompletions
    from openai.resources.completions import Completions

    server = utils.ServerProcess
    make_url, make_request = server.make_url, server.make_request
    make_stream_request = server.make_stream_request

    def under_v1(self: Any, path: str, host: str | None = None) -> str:
        return make_url(self, f"/v1{path}" if path in _OPENAI_PATHS else path, host)

    server.make_url = under_v1
    server.make_request = _named(make_request)
    server.make_stream_request = _named(make_stream_request)
    for resource in (Completions, ChatCompletions):
        resource.create = _named_model(resource.create)


def _named(request: Callable[..., Any]) -> Callable[..., Any]:
    """The same request, to our model."""

    def call(self: Any, method: str, path: str, data: Any = None, *rest: Any, **more: Any) -> Any:
        if isinstance(data, dict) and data.get("model"):
            data = {**data, "model": "gac"}
        return request(self, method, path, data, *rest, **more)

    return call


def _named_model(create: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **keywords: Any) -> Any:
        return create(*arguments, **{**keywords, "model": "gac"})

    return call


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note whether a test passed; one that was skipped did not run."""
    if report.skipped:
        return
    _outcomes[report.nodeid] = _outcomes.get(report.nodeid, True) and report.passed
    if report.failed:
        _messages[report.nodeid] = report.longreprtext


def pytest_sessionfinish() -> None:
    record = {"passed": _outcomes, "messages": _messages}
    Path(os.environ["OUTCOMES"]).write_text(json.dumps(record), "utf-8")
