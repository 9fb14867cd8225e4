"""Spans of requests are what clients got, and continue the client's own trace."""

import json
import sys
import time
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from gac.errors import ConfigError
from gac.server import spans
from gac.server.app import make_app
from tests.support.choices import BASE, trio
from tests.support.client import ask, generate, get, open_stream, server_sent, streamed
from tests.support.fake_service import Fakes, fake_config, fakes_for, ready, until
from tests.support.scrape import scrape

CHAT: dict[str, Any] = {
    "model": "gac",
    "messages": [{"role": "user", "content": "the cat"}],
    "max_tokens": 9,
}
TRACING = {"server": {"tracing": True}}
CLIENTS = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    monkeypatch.setattr(spans, "_exporter", lambda: exporter)
    for name in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_TRACES_SAMPLER"):
        monkeypatch.delenv(name, raising=False)
    return exporter


def split(sent: InMemorySpanExporter) -> tuple[ReadableSpan, dict[str, ReadableSpan]]:
    """The one span of a request and its children by name; all of one trace."""
    every = sent.get_finished_spans()
    [server] = [span for span in every if span.kind is SpanKind.SERVER]
    children = {span.name: span for span in every if span is not server}
    assert len(children) == len(every) - 1
    for child in children.values():
        assert child.parent == server.context
        assert server.start_time <= child.start_time <= child.end_time <= server.end_time
    return server, children


def chat(url: str, headers: dict[str, str] | None = None, **fields: Any) -> Any:
    data, sent_as = json.dumps({**CHAT, **fields}).encode(), {"Content-Type": "application/json"}
    return ask(url, "POST", "/v1/chat/completions", data, {**sent_as, **(headers or {})})


@pytest.mark.parametrize("n", [1, 2])
def test_whole_answer(sent: InMemorySpanExporter, n: int) -> None:
    headers = {"traceparent": CLIENTS, "X-Request-Id": "mine"}
    began = time.time_ns()
    with ready(fakes_for(fake_config(**TRACING), end_bias=-5.0, max_context=300)) as url:
        answer = chat(url, headers, n=n).body
        get(url, "/status")  # has no span
    server, children = split(sent)  # all are sent when the server has ended
    usage, choices = answer["usage"], answer["choices"]
    tokens = usage["completion_tokens"]
    ratio = server.attributes["gac.ensembled_token_ratio"]
    assert dict(server.attributes) == {
        "http.request.method": "POST",
        "http.route": "/v1/chat/completions",
        "http.response.status_code": 200,
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "gac",
        "gen_ai.request.model": "gac",
        "gen_ai.usage.input_tokens": usage["prompt_tokens"],
        "gen_ai.usage.output_tokens": tokens,
        "gen_ai.response.finish_reasons": tuple(one["finish_reason"] for one in choices),
        "gac.request_id": "mine",
        "gac.strategy": "every_step",
        "gac.ensembled_token_ratio": ratio,
    }
    assert tokens > 0 and ratio == pytest.approx(1.0)
    assert server.name == "POST /v1/chat/completions"
    assert f"{server.context.trace_id:032x}" == CLIENTS.split("-")[1]
    assert f"{server.parent.span_id:016x}" == CLIENTS.split("-")[2]
    assert server.resource.attributes["service.name"] == "gac"
    assert server.status.status_code is StatusCode.UNSET
    assert list(children) == ["queue", "prefill", "decode"]
    assert children["queue"].end_time == children["prefill"].start_time
    assert children["prefill"].end_time == children["decode"].start_time
    assert began - 10**8 < server.start_time < server.end_time < time.time_ns() + 10**8


def test_stream(sent: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "another")
    with ready(trio(**TRACING)) as url:
        last = streamed(url, BASE)[-1].data
    server, children = split(sent)
    assert server.name == "POST /api/generate" and server.parent is None
    assert server.resource.attributes["service.name"] == "another"
    assert server.attributes["gen_ai.usage.output_tokens"] == last["num_tokens"] > 1
    assert server.attributes["gac.ensembled_token_ratio"] == last["ensembled_token_ratio"][0]
    assert list(children) == ["queue", "prefill", "decode"]
    assert children["decode"].end_time > children["decode"].start_time


@pytest.mark.parametrize("fields, model", [({"max_tokens": "a"}, None), ({"model": "x"}, "x")])
def test_refusal(sent: InMemorySpanExporter, fields: dict[str, Any], model: str | None) -> None:
    with ready(trio(**TRACING)) as url:
        refused = chat(url, **fields)
    server, children = split(sent)
    assert server.attributes["http.response.status_code"] == refused.status
    assert server.attributes["error.type"] == refused.error["code"]
    assert server.attributes.get("gen_ai.request.model") == model
    assert server.status.status_code is StatusCode.UNSET and not children


def test_body_that_is_too_large(sent: InMemorySpanExporter) -> None:
    with ready(trio(server={"tracing": True, "max_body_bytes": 10})) as url:
        assert generate(url, BASE).status == 413
    server, children = split(sent)
    assert server.name == "POST /api/generate" and not children
    assert server.attributes["http.response.status_code"] == 413


def endless() -> Fakes:
    return fakes_for(fake_config(**TRACING), end_bias=-20.0, max_context=100_000)


def test_client_that_leaves(sent: InMemorySpanExporter) -> None:
    fakes = endless()
    fakes.on_extend(lambda batch: time.sleep(0.001))
    with ready(fakes) as url:
        connection, response = open_stream(url, {**BASE, "max_new_tokens": 8000})
        assert next(server_sent(response)).name == "message"
        response.close()
        connection.close()
        assert until(lambda: scrape(url).value("gac_clients_left_total") == 1)
    server, children = split(sent)
    assert server.attributes["error.type"] == "client_left"
    assert server.status.status_code is StatusCode.UNSET
    assert list(children) == ["decode"]
    assert "gen_ai.usage.output_tokens" not in server.attributes


def test_failure_after_the_first_byte(sent: InMemorySpanExporter) -> None:
    fakes, began = endless(), []

    def fail(batch: Any) -> None:
        began.append(batch)
        if len(began) > 40:
            raise RuntimeError("out of luck")

    fakes.on_extend(fail)
    with ready(fakes) as url:
        assert streamed(url, {**BASE, "max_new_tokens": 500})[-1].name == "error"
    server, _ = split(sent)
    assert server.attributes["http.response.status_code"] == 200
    assert server.attributes["error.type"] == "server_error"
    assert server.status.status_code is StatusCode.ERROR


def test_without_the_package_the_start_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(ConfigError, match=r"server\.tracing.*pip install 'gac-server\[otel\]'"):
        make_app(trio(**TRACING).service)
    make_app(trio().service)  # needs none
