"""`n`: several texts for one prompt, which are drawn apart and share one prefill."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest

from gac.core import GenerateRequest, Sampling
from gac.decoding.strategies import StrategyMaker
from gac.engine.choice import Choice
from gac.engine.client_request import ClientRequest
from gac.engine.requests import check_limits, prepare
from gac.engine.writer import write
from gac.errors import RequestError
from gac.server.trace_budget import traced_bytes
from tests.support.collect import Running
from tests.support.fake_service import Fakes, fake_config, fakes_for, started
from tests.support.real_members import real_ensemble, real_model
from tests.support.trios import EVERY_STEP, GATED, VERIFIED

ASKED = ClientRequest(messages_list=["the cat", "a cat"], n=3, max_new_tokens=12, seed=3)
SAMPLED = replace(ASKED, temperature=1.0)


@pytest.fixture(scope="module")
def fakes() -> Iterator[Fakes]:
    with started(fakes_for()) as fakes:
        yield fakes


def prepared(fakes: Fakes, asked: ClientRequest) -> list[GenerateRequest]:
    return prepare(fakes.service.config, fakes.service.started, asked)


def texts(fakes: Fakes, asked: ClientRequest) -> list[list[bytes]]:
    written = write(fakes.service.engine, prepared(fakes, asked))
    return [[token.token_bytes for token in one.tokens] for one in written]


def test_requests_of_an_entry_differ_in_their_choice_alone(fakes: Fakes) -> None:
    requests = prepared(fakes, SAMPLED)
    assert [one.request_id.partition("-")[2] for one in requests] == [*"012345"]
    assert [one.sampling.choice for one in requests] == [0, 1, 2, 0, 1, 2]
    for first, entry in ((requests[0], requests[:3]), (requests[3], requests[3:])):
        for place, one in enumerate(entry):
            drawn = replace(first.sampling, choice=place)
            assert one == replace(first, request_id=one.request_id, sampling=drawn)


def test_seed_that_was_not_sent_is_drawn_for_each_entry(fakes: Fakes) -> None:
    seeds = [one.sampling.seed for one in prepared(fakes, replace(SAMPLED, seed=None))]
    assert seeds[:3] == [seeds[0]] * 3 and seeds[3:] == [seeds[3]] * 3
    assert seeds[0] != seeds[3]


def test_greedy_choices_are_equal(fakes: Fakes) -> None:
    written = texts(fakes, ASKED)
    assert written[:3] == [written[0]] * 3 and written[3:] == [written[3]] * 3
    assert written[0] != written[3]


def test_sampled_choices_differ_and_each_is_what_it_is_alone(fakes: Fakes) -> None:
    asked = replace(SAMPLED, n=8)
    together = texts(fakes, asked)
    assert len({tuple(text) for text in together[:8]}) > 4
    for request, text in list(zip(prepared(fakes, asked), together, strict=True))[:8:3]:
        [alone] = write(fakes.service.engine, [replace(request, request_id="alone")])
        assert [token.token_bytes for token in alone.tokens] == text


@pytest.mark.parametrize(("count", "param"), [(1, "n"), (3, "messages_list")])
def test_limit_on_conversations_counts_all_texts(count: int, param: str) -> None:
    config = fake_config(server={"max_conversations": 2})
    check_limits(config, ClientRequest(messages_list=["a"], n=2))
    with pytest.raises(RequestError, match=rf"holds {count} .*with n 3 that is {3 * count}") as e:
        check_limits(config, ClientRequest(messages_list=["a"] * count, n=3))
    assert e.value.param == param


def test_no_choice_at_all_is_refused(fakes: Fakes) -> None:
    with pytest.raises(RequestError, match="n: must be at least 1, not 0"):
        prepared(fakes, replace(ASKED, n=0))


def test_budget_of_traces_counts_every_choice() -> None:
    one = replace(ASKED, n=1, trace=5)
    assert traced_bytes(replace(one, n=3), 2) == 3 * traced_bytes(one, 2) > 0


def test_choices_share_one_prefill() -> None:
    """Each computes the prompt's last id by itself, as logits are not kept; nothing else of it."""
    prompt = real_model("llama").prompt("the cat sat on the mat. " * 12)
    size, count = len(prompt.ids), 5
    requests = [
        GenerateRequest(
            f"r{place}", {"llama": prompt}, 1, sampling=Sampling(1.0, seed=1, choice=place)
        )
        for place in range(count)
    ]
    with real_ensemble([real_model("llama")]) as ensemble:
        runner: Any = ensemble.members["llama"]._host._runner  # type: ignore[attr-defined]
        plain, computed = runner._forward.cached, []

        def cached(cache: Any, first: int, chunks: Sequence[Any]) -> Any:
            computed.extend(len(chunk.ids) for chunk in chunks)
            return plain(cache, first, chunks)

        with patch.object(runner._forward, "cached", cached):
            with Running(ensemble, StrategyMaker(EVERY_STEP)) as running:
                written = running.write(requests)
    assert len({one.token_bytes[0] for one in written}) > 1
    assert sum(computed) == size + count - 1
    assert runner.num_reused_ids == (count - 1) * (size - 1)


def test_reference_member_leads_or_is_the_first() -> None:
    assert Choice(("ada", "bora"), EVERY_STEP).reference == "ada"
    assert Choice(("ada", "bora"), GATED).reference == "bora"
    assert Choice(("ada", "cleo"), GATED).reference == "ada"
    assert Choice(("bora",), VERIFIED[0]).reference == "bora"
    assert Choice(("bora", "ada"), VERIFIED[0]).reference == "ada"
