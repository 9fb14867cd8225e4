"""What the log says of requests, and that it never says what they say."""

import logging
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.choices import BASE, trio
from tests.support.client import generate, get, one, open_stream, server_sent, streamed
from tests.support.fake_service import PLAIN, fakes_for, ready, until

SECRET = "xylophone"
LINE = re.compile(
    r"request [0-9a-f]{16}: (\w+), (\d+) texts?, (\d+) tokens \((\d+) % ensembled\), "
    r"first after (\d+\.\d\d) s, (\d+\.\d) tokens/s, finished by (.*)"
)


@pytest.fixture(autouse=True)
def heard(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="gac")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with ready(trio()) as url:
        yield url


def all_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.name == "gac.server.request_log"]


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Those about one request; servers of other tests may sum up their work meanwhile."""
    return [line for line in all_lines(caplog) if not line.startswith("running ")]


def sums(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [line for line in all_lines(caplog) if line.startswith("running ")]


@pytest.mark.parametrize("ask", [generate, streamed])
def test_end_of_a_request_is_one_line(url: str, caplog, ask: Any) -> None:
    both = [*BASE["messages_list"], [{"role": "user", "content": SECRET}]]
    ask(url, {**BASE, "messages_list": both, "max_new_tokens": 7, "strategy": "every_step"})
    assert until(lambda: len(lines(caplog)) > 0)
    [line] = lines(caplog)
    found = LINE.fullmatch(line)
    assert found, line
    assert found.groups()[:4] == ("every_step", "2", "14", "100")
    assert found[7] == "length (2)"
    assert float(found[5]) < 60 and float(found[6]) > 0


def test_first_token_is_timed_where_it_comes_about(caplog) -> None:
    """Also where the answer is read as a whole."""
    fakes = fakes_for(end_bias=-20.0)
    fakes.on_extend(lambda batch: time.sleep(0.02))
    with ready(fakes) as url:
        total = generate(url, {**BASE, "max_new_tokens": 40, "ignore_eos": True}).body["total_time"]
    [line] = lines(caplog)
    found = LINE.fullmatch(line)
    assert found and float(found[5]) < 0.5 * total


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"top_p": 7}, "refused with 400 (top_p): top_p: must be above 0"),
        ({"max_new_tokens": "x"}, "refused with 400 (max_new_tokens): "),
        ({"members": ["evil\nINFO ready"]}, r"refused with 400 (members): members[0]: "),
        ({"trace": 20, "max_new_tokens": 8192, "until": ["x"] * 65}, "refused with 400 (until)"),
    ],
    ids=str,
)
def test_refusal_is_one_line_with_its_field(url: str, caplog, fields: Any, words: str) -> None:
    generate(url, {**BASE, **fields})
    [line] = lines(caplog)
    assert line.startswith(words)
    assert "\n" not in line and len(line) < 300


def test_other_refusals_are_lines_too(url: str, caplog) -> None:
    get(url, "/nowhere")
    generate(url, b"{")
    get(url, "/health/ready")
    assert [line[:17] for line in lines(caplog)] == ["refused with 404:", "refused with 400:"]


def test_failure_is_a_warning(caplog) -> None:
    fakes = fakes_for()
    fakes.on_extend(lambda batch: 1 / 0)
    with ready(fakes) as url:
        generate(url, BASE)
    [line] = lines(caplog)
    assert line.startswith("failed with 500: member 'ada' failed")


@pytest.mark.parametrize("stream", [False, True])
def test_client_that_leaves_is_a_line(caplog, stream: bool) -> None:
    fakes = fakes_for(end_bias=-20.0, max_context=100_000)
    fakes.on_extend(lambda batch: time.sleep(0.005))
    with ready(fakes) as url:
        body = {**BASE, "max_new_tokens": 8000}
        if stream:
            connection, response = open_stream(url, body)
            assert next(server_sent(response)).name == "message"
            response.close()
            connection.close()
        else:
            with pytest.raises(TimeoutError):
                generate(url, body, timeout_s=0.3)
        assert until(lambda: len(lines(caplog)) > 0)
    [line] = lines(caplog)
    assert re.fullmatch(
        r"request [0-9a-f]{16}: the client left after \d\.\d\d s, its texts are aborted", line
    )


def test_work_is_summed_up_now_and_then_and_idleness_is_not(caplog, monkeypatch) -> None:
    monkeypatch.setattr("gac.server.request_log.INTERVAL_S", 0.1)
    fakes = fakes_for(end_bias=-20.0)
    fakes.on_extend(lambda batch: time.sleep(0.01))
    with ready(fakes) as url:
        time.sleep(0.5)
        assert len(sums(caplog)) <= 1  # of a server of another test
        generate(url, {**BASE, "max_new_tokens": 60})
        at_work = [line for line in sums(caplog) if line.startswith("running 1, waiting 0, ")]
        assert any(float(line.split()[4]) > 0 for line in at_work)
        assert until(lambda: sums(caplog)[-1].startswith("running 0, waiting 0, "))
        time.sleep(0.3)
        count = len(sums(caplog))
        time.sleep(0.5)
        assert len(sums(caplog)) <= count + 1


def test_neither_prompts_nor_answers_are_logged(caplog) -> None:
    blabbing = "{{ raise_exception('I do not like ' + messages[0].content) }}"
    fakes = fakes_for(templates={"ada": PLAIN, "bora": blabbing})
    with ready(fakes) as url:
        assert SECRET in generate(url, one(SECRET, apply_chat_template=True)).error["message"]
        text = generate(url, one(SECRET, max_new_tokens=20, ignore_eos=True)).body["response"][0]
        streamed(url, one(SECRET, max_new_tokens=20, until=[SECRET], trace=True))
        assert until(lambda: len(lines(caplog)) == 3)
    assert SECRET not in caplog.text
    assert text.strip() not in caplog.text
    assert "the chat template of member 'bora' refuses this conversation" in lines(caplog)[0]


@pytest.mark.parametrize("templated", [False, True])
def test_nothing_written_without_a_template_gets_a_hint(caplog, templated: bool) -> None:
    hint = "0 tokens: the prompt was sent without a chat template; set apply_chat_template: true"
    with ready(fakes_for(end_bias=50.0)) as url:
        body = {**BASE, "apply_chat_template": templated}
        answer = generate(url, body).body
        assert answer["num_tokens"] == 0
        assert answer.get("hints") == (None if templated else [hint])
        assert lines(caplog)[0].endswith("stop" if templated else f"stop; hint: {hint}")
        two = {**body, "messages_list": body["messages_list"] * 2}
        several = streamed(url, two)[-1].data.get("hints")
        assert several == (None if templated else [f"response[0], response[1]: {hint}"])
        assert "hints" not in generate(url, {**body, "ignore_eos": True}).body


def test_no_hint_where_a_template_could_not_be_applied() -> None:
    fakes = fakes_for(templates={"ada": PLAIN, "bora": None}, end_bias=50.0)
    with ready(fakes) as url:
        assert "hints" not in generate(url, BASE).body
