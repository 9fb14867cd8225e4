"""GET /metrics: its counts are what clients got, and it answers whatever state the server is in."""

import json
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gac.engine.service import Service
from gac.errors import MemberError
from tests.support.choices import BASE, GATE, NAMES, trio
from tests.support.client import ask, generate, get, one, open_stream, server_sent, streamed
from tests.support.fake_service import fake_config, fakes_for, ready, serving, until
from tests.support.scrape import Scrape, scrape

SEVERAL = {
    "messages_list": [[{"role": "user", "content": text}] for text in ("the", "cat the", "é")],
    "max_new_tokens": 30,
}
ENDED = "gac_request_success_total"


@pytest.fixture
def url() -> Iterator[str]:
    with ready(trio()) as url:
        yield url


def whole(url: str, body: Any) -> Any:
    answer = generate(url, body)
    assert answer.status == 200
    return answer.body


def last_event(url: str, body: Any) -> Any:
    return streamed(url, body)[-1].data


BODIES: list[dict[str, Any]] = [
    SEVERAL,
    {**SEVERAL, "temperature": 1.3, "seed": 4},
    {**BASE, "strategy": GATE},
    {**BASE, "strategy": "safe"},
    {**BASE, "members": ["bora"], "max_new_tokens": 1},
    {**SEVERAL, "until": ["t"], "temperature": 1.0, "seed": 2},
]


@pytest.mark.parametrize("by", [whole, last_event])
def test_counts_are_what_clients_got(url: str, by: Any) -> None:
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda body: by(url, body), BODIES))
    seen = scrape(url)
    counts = [usage["completion_tokens"] for answer in answers for usage in answer["usage"]]
    assert seen.value("gac_generation_tokens_total") == sum(counts) > 100
    ratios = [ratio for answer in answers for ratio in answer["ensembled_token_ratio"]]
    ensembled = round(sum(r * n for r, n in zip(ratios, counts, strict=True)))
    assert seen.value("gac_tokens_ensembled_total") == ensembled
    assert seen.value("gac_tokens_gate_only_total") == sum(counts) - ensembled > 0
    assert sum(seen.by("member", "gac_token_winner_total").values()) >= sum(counts)
    prompts: Counter[str] = Counter()
    for answer in answers:
        for usage in answer["usage"]:
            prompts.update(usage["prompt_tokens"])
    assert seen.by("member", "gac_prompt_tokens_total") == prompts
    reasons = Counter(reason for answer in answers for reason in answer["finish_reasons"])
    assert seen.by("finished_reason", ENDED) == {"stop": 0, "length": 0, "abort": 0} | reasons
    check_times(
        seen, counts, sum(answer["total_time"] * len(answer["usage"]) for answer in answers)
    )


def test_tokens_of_an_echoed_prompt_are_not_counted_as_written(url: str) -> None:
    body = {"prompt": "the cat the", "echo": True, "logprobs": 1, "max_tokens": 6, "n": 2}
    data = json.dumps({**body, "ignore_eos": True}).encode()
    answer = ask(url, "POST", "/v1/completions", data, {"Content-Type": "application/json"})
    assert answer.status == 200
    assert len(answer.body["choices"][0]["logprobs"]["tokens"]) > 6
    seen = scrape(url)
    assert seen.value("gac_generation_tokens_total") == 12
    assert answer.body["usage"]["completion_tokens"] == 12
    check_times(seen, [6, 6], total_s=60.0)


def check_times(seen: Scrape, counts: list[int], total_s: float) -> None:
    """Numbers of observations are exact; of their sums, what must hold on any machine."""
    with_tokens = sum(count > 0 for count in counts)
    observed = {
        "time_to_first_token": with_tokens,
        "inter_token_latency": sum(counts) - with_tokens,
        "e2e_request_latency": len(counts),
        "request_queue_time": len(counts),
        "request_prefill_time": with_tokens,
        "request_decode_time": with_tokens,
    }
    for name, count in observed.items():
        assert seen.value(f"gac_{name}_seconds_count") == count, name
    sums = {name: seen.value(f"gac_{name}_seconds_sum") for name in observed}
    assert all(seconds >= 0 for seconds in sums.values())
    assert sums["inter_token_latency"] == pytest.approx(sums["request_decode_time"])
    assert sums["request_queue_time"] + sums["request_prefill_time"] <= sums["time_to_first_token"]
    first_and_decode = sums["time_to_first_token"] + sums["request_decode_time"]
    assert first_and_decode <= sums["e2e_request_latency"] + 1e-6
    assert sums["e2e_request_latency"] <= total_s + 0.2 * len(counts)


def test_members_work_is_counted(url: str) -> None:
    whole(url, SEVERAL)
    whole(url, {**BASE, "strategy": "safe"})
    seen = scrape(url)
    for name in ("batches", "forward_seconds", "row_seconds", "transport_seconds"):
        by_member = seen.by("member", f"gac_member_{name}_total")
        assert set(by_member) == set(NAMES) and all(value > 0 for value in by_member.values())
    assert all(value > 0 for value in seen.by("phase", "gac_step_seconds_total").values())
    drafted = seen.value("gac_strategy_draft_tokens_total")
    assert drafted >= seen.value("gac_strategy_dropped_tokens_total") > 0
    assert get(url, "/status").body["num_tokens"] == seen.value("gac_generation_tokens_total")


def test_refusals_and_failures_are_counted_by_code(url: str) -> None:
    assert generate(url, {**BASE, "top_p": 7}).status == 400
    assert generate(url, {**BASE, "stream": True, "members": ["x"]}).status == 400
    assert generate(url, b"{").status == 400
    assert generate(url, BASE, path="/nowhere/at/all").status == 404
    whole(url, BASE)
    seen = scrape(url)
    failures = seen.of("gac_request_failures_total")
    assert {labels: n for labels, n in failures.items() if n} == {
        frozenset({("code", "invalid_request_error"), ("status", "400")}): 2,
        frozenset({("code", "invalid_json"), ("status", "400")}): 1,
        frozenset({("code", "http_404"), ("status", "404")}): 1,
    }
    asked = seen.of("gac_http_requests_total")
    assert asked[frozenset({("route", "/api/generate"), ("status", "400")})] == 3
    assert asked[frozenset({("route", "/api/generate"), ("status", "200")})] == 1
    assert asked[frozenset({("route", "none"), ("status", "404")})] == 1
    assert seen.value("gac_time_to_first_token_seconds_count") == 1


def test_error_after_the_first_byte_is_a_failure() -> None:
    fakes = fakes_for(end_bias=-20.0, max_context=100_000)
    num_asked = 0

    def fail(batch: list) -> None:
        nonlocal num_asked
        num_asked += 1
        if num_asked > 40:
            raise RuntimeError("out of luck")

    fakes.on_extend(fail)
    with ready(fakes) as url:
        assert streamed(url, {**BASE, "max_new_tokens": 500})[-1].name == "error"
        assert until(lambda: scrape(url).of("gac_request_failures_total"))
        seen = scrape(url)
        assert seen.value("gac_request_failures_total", code="server_error", status="200") == 1
        assert sum(seen.by("finished_reason", ENDED).values()) == 0


def test_clients_that_leave_leave_no_gauge_behind() -> None:
    fakes = fakes_for(end_bias=-20.0, max_context=100_000)
    fakes.on_extend(lambda batch: time.sleep(0.001))
    with ready(fakes) as url:
        streams = [open_stream(url, {**SEVERAL, "max_new_tokens": 8000}) for _ in range(12)]
        for connection, response in streams:
            assert next(server_sent(response)).name == "message"
            response.close()
            connection.close()
        assert until(lambda: scrape(url).value("gac_clients_left_total") == 12)
        seen = scrape(url)
        assert seen.by("finished_reason", ENDED) == {"stop": 0, "length": 0, "abort": 36}
        assert until(lambda: scrape(url).value("gac_num_requests_running") == 0)
        seen = scrape(url)
        assert seen.value("gac_num_requests_waiting") == 0
        assert set(seen.by("member", "gac_kv_cache_usage_ratio").values()) == {0.0}
        assert seen.value("gac_request_queue_time_seconds_count") == 0
        whole(url, one("cat", max_new_tokens=3))
        assert scrape(url).value("gac_e2e_request_latency_seconds_count") == 1


def test_it_answers_while_members_load_and_after_that_failed() -> None:
    fate = threading.Event()

    def launch(*args: object) -> Any:
        fate.wait(20)
        raise MemberError("no such model")

    with serving(Service(fake_config(), launch)) as url:
        loading = scrape(url)
        fate.set()
        assert until(lambda: get(url, "/status").body["status"] == "failed")
        failed = scrape(url)
    for seen in (loading, failed):
        assert seen.by("member", "gac_member_up") == {"ada": 0, "bora": 0}
        assert seen.value("gac_ready") == 0
        assert seen.value("gac_num_requests_running") == 0
        assert seen.by("member", "gac_token_winner_total") == {"ada": 0, "bora": 0}


def test_counts_stay_when_the_engine_has_broken() -> None:
    fakes = fakes_for(end_bias=-5.0)
    with ready(fakes) as url:
        count = whole(url, BASE)["num_tokens"]
        fakes.service.engine.give_up(MemberError("gone"))
        assert until(lambda: get(url, "/status").body["status"] == "failed")
        seen = scrape(url)
        assert seen.value("gac_generation_tokens_total") == count > 0
        assert seen.value("gac_ready") == 0


def test_each_application_counts_for_itself(url: str) -> None:
    with ready(fakes_for(end_bias=-5.0)) as other:
        whole(other, BASE)
        assert scrape(other).value("gac_generation_tokens_total") > 0
    assert scrape(url).value("gac_generation_tokens_total") == 0


def test_build_says_what_runs(url: str) -> None:
    [labels] = scrape(url).of("gac_build_info")
    status = get(url, "/status").body
    assert dict(labels)["union_fingerprint"] == status["union_fingerprint"]
    assert dict(labels)["members"] == ",".join(NAMES)


def test_open_metrics_are_given_to_who_accepts_them(url: str) -> None:
    accept = "application/openmetrics-text; version=1.0.0"
    request = urllib.request.Request(f"{url}/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(request) as response:
        assert response.headers["content-type"].startswith("application/openmetrics-text")
        assert response.read().endswith(b"# EOF\n")


def test_nobody_reads_prompts_or_answers_in_it(url: str) -> None:
    answer = whole(url, one("xylophone " * 3, max_new_tokens=40))
    with urllib.request.urlopen(f"{url}/metrics") as response:
        text = response.read().decode()
    assert "xylophone" not in text
    assert json.dumps(answer["response"][0])[1:-1] not in text
