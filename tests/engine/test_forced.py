"""Forced tokens go through the strategy as if they had been picked."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gac.core import ErrorEvent, FinishReason, Forced, GenerateRequest, Prompt, Sampling
from gac.decoding.strategies import StrategyMaker
from gac.engine.limits import EngineLimits
from gac.engine.scheduler import MOST_ROWS
from tests.support.collect import Running, Written
from tests.support.examples import examples
from tests.support.fakes import FakeEnsemble
from tests.support.trios import (
    AGGREGATED,
    ALL_ENTRIES,
    EVERY_STEP,
    GATED,
    GUARDED,
    LONG,
    REPLACED,
    TRIOS,
    TWINS,
    VERIFIED,
    Trio,
    request_of,
)

SPECS = st.fixed_dictionaries(
    {
        "prompt": st.text("the cat\n", min_size=1, max_size=30),
        "lead": st.booleans(),
        "max_new_tokens": st.integers(1, 40),
        "max_length": st.sampled_from([None, None, 60]),
        "min_new_tokens": st.sampled_from([0, 0, 3]),
        "ignore_eos": st.booleans(),
    }
)
GREEDY = [EVERY_STEP, GATED, REPLACED, *AGGREGATED[:-1], GUARDED]


def write(fakes: FakeEnsemble, strategy: Any, *requests: GenerateRequest) -> list[Written]:
    with Running(fakes.ensemble, StrategyMaker(strategy)) as running:
        return running.write(requests)


def forcing(request: GenerateRequest, tokens: tuple[int, ...], num_new: int) -> GenerateRequest:
    """Scores union tokens, owned as decided; END is possible at every place."""
    return replace(
        request,
        request_id="forced",
        forced=Forced(tokens),
        max_new_tokens=num_new,
        min_new_tokens=0,
        ignore_eos=False,
    )


def check(strategy: Any, trio: Trio, spec: dict[str, Any], num_new: int = 1) -> None:
    """What was written, forced: its own choices, as likely as when they were made."""
    fakes = trio.members()
    request = replace(request_of(fakes, spec, "free"), logprobs=3)
    request = replace(request, min_new_tokens=0, ignore_eos=False)
    [free] = write(fakes, strategy, request)
    tokens = tuple(event.pick.token for event in free.tokens)
    ended = num_new > 0 and free.finish.reason is FinishReason.STOP
    [forced] = write(fakes, strategy, forcing(request, tokens, int(ended)))
    fakes.close()
    assert forced.token_bytes == free.token_bytes
    for one, other in zip(free.tokens, forced.tokens, strict=True):
        assert one.likelihood == other.likelihood
        assert (one.pick, one.asked) == (other.pick, other.asked)
        assert other.likelihood is not None
    if ended:
        assert forced.finish.likelihood == free.finish.likelihood
    assert forced.finish.completion_tokens == forced.finish.ensembled_tokens == 0


@pytest.mark.parametrize("strategy", GREEDY, ids=repr)
@examples(20)
@given(spec=SPECS, name=st.sampled_from([*TRIOS]))
def test_what_was_written_greedily_is_scored_as_it_was_chosen(
    strategy: Any, spec: dict[str, Any], name: str
) -> None:
    check(strategy, TRIOS[name], spec)


@pytest.mark.parametrize("strategy", VERIFIED, ids=repr)
@examples(20)
@given(spec=SPECS)
def test_what_safe_wrote_greedily_is_scored_as_it_was_chosen(
    strategy: Any, spec: dict[str, Any]
) -> None:
    check(strategy, TWINS, spec)


def test_mixture_scores_by_the_members_it_drew() -> None:
    """What follows is drawn anew, as if nothing had been forced."""
    spec = {"prompt": "the cat", "lead": False, "max_new_tokens": 30}
    sampled = {**spec, "sampling": Sampling(1.0, seed=4)}
    check(AGGREGATED[-1], TRIOS["unrelated"], sampled, num_new=0)


@pytest.mark.parametrize("strategy", [EVERY_STEP, GATED, REPLACED, *AGGREGATED[:3]], ids=repr)
def test_all_probabilities_at_a_forced_place_add_up_to_1(strategy: Any) -> None:
    fakes = TRIOS["unrelated"].members()
    request = replace(request_of(fakes, LONG, "free"), logprobs=ALL_ENTRIES)
    tokens = tuple(fakes.ensemble.union.index[token] for token in (b"th", b"e", b" cat", b"s"))
    [forced] = write(fakes, strategy, forcing(request, tokens, 0))
    fakes.close()
    for event in forced.tokens:
        assert event.likelihood is not None
        total = sum(one.probability for one in event.likelihood.top)
        assert total == pytest.approx(1.0, abs=1e-5)
        by_bytes = {one.token: one.probability for one in event.likelihood.top}
        assert by_bytes.get(event.token_bytes, 0.0) == event.likelihood.probability


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [EVERY_STEP, GATED, VERIFIED[0]], ids=repr)
def test_scores_are_the_same_in_a_busy_batch(strategy: Any) -> None:
    words = [b"the", b" cat", b"s", b"\n", b"he", b"a", b"t", b" the", b"at", b"c"]
    fakes = TRIOS["unrelated"].members()
    index = fakes.ensemble.union.index
    drawn = [index.get(words[(3 * n + n * n // 7) % 10], index[b"a"]) for n in range(44)]
    plain = replace(request_of(fakes, LONG, "free"), logprobs=2)
    requests = [
        replace(forcing(plain, tuple(drawn[n : 44 - n]), 2), request_id=f"r{n}") for n in range(4)
    ]
    neighbours = [replace(plain, request_id=f"n{n}", max_new_tokens=20) for n in range(2)]
    together = write(fakes, strategy, *requests, *neighbours)
    for request, written in list(zip(requests, together, strict=False))[::3]:
        [alone] = write(fakes, strategy, request)
        assert [one.likelihood for one in alone.tokens] == [
            one.likelihood for one in written.tokens
        ]
        assert alone.text == written.text
    fakes.close()


def test_what_concerns_an_answer_leaves_forced_tokens_alone() -> None:
    """Stops, least lengths and seeds act behind them, as if they stood in the prompt."""
    fakes = TRIOS["unrelated"].members()
    vocabulary = fakes.ensemble.vocabularies["ada"]
    ids = tuple(vocabulary.encoder.encode(b"the cat at the end, at last"))
    union_ids = tuple(int(fakes.ensemble.union.places["ada"][own]) for own in ids)
    fields: dict[str, Any] = {
        "max_new_tokens": 20,
        "min_new_tokens": 5,
        "stop": ("at",),
        "sampling": Sampling(1.0, seed=3),
        "logprobs": 1,
    }
    given = GenerateRequest("given", {"ada": Prompt(ids)}, **fields)
    split = replace(
        given,
        request_id="split",
        prompts={"ada": Prompt(ids[:2])},
        forced=Forced(union_ids[2:], "ada", ids[2:]),
    )
    plain, forced = write(fakes, EVERY_STEP, given, split)
    fakes.close()
    size = len(ids) - 2
    assert [one.token_bytes for one in forced.tokens[size:]] == plain.token_bytes
    assert [one.likelihood for one in forced.tokens[size:]] == [
        one.likelihood for one in plain.tokens
    ]
    assert "".join(one.text for one in forced.tokens[:size]) == vocabulary.spell(ids[2:]).decode()
    texts = ["".join(one.text for one in tokens) for tokens in (forced.tokens[size:], plain.tokens)]
    assert texts[0] + forced.finish.text == texts[1] + plain.finish.text
    one, other = forced.finish, plain.finish
    assert (one.reason, one.completion_tokens) == (other.reason, other.completion_tokens)
    assert one.prompt_tokens == other.prompt_tokens
    assert [event.num_shown - size for event in forced.tokens[size:]] == [
        event.num_shown for event in plain.tokens
    ]


def test_forced_bytes_of_half_a_character_end_with_the_forced_text() -> None:
    fakes = TRIOS["unrelated"].members()
    index = fakes.ensemble.union.index
    request = replace(request_of(fakes, LONG, "free"), logprobs=0)
    tokens = (index[b"a"], index[b"\xe6"])
    [forced] = write(fakes, EVERY_STEP, forcing(request, tokens, 3))
    fakes.close()
    assert [one.text for one in forced.tokens[:2]] == ["a", "\ufffd"]
    assert [one.num_shown for one in forced.tokens[:2]] == [1, 2]


def test_prompt_that_fills_a_context_is_an_error_and_not_a_short_answer() -> None:
    fakes = TRIOS["unrelated"].members()
    index = fakes.ensemble.union.index
    request = replace(request_of(fakes, LONG, "free"), logprobs=0, max_length=12)
    [forced] = write(fakes, EVERY_STEP, forcing(request, (index[b"a"],) * 30, 0))
    fakes.close()
    assert isinstance(forced.end, ErrorEvent)
    assert getattr(forced.end.error, "code", None) == "context_length_exceeded"


def test_rows_of_a_batch_are_bounded() -> None:
    fakes = TRIOS["unrelated"].members()
    index = fakes.ensemble.union.index
    plain = replace(request_of(fakes, {**LONG, "max_new_tokens": 1}, "free"), logprobs=0)
    forced = forcing(plain, (index[b"a"],) * 40, 0)
    requests = [replace(forced, request_id=f"r{n}") for n in range(16)]
    write(fakes, EVERY_STEP, *requests)
    fakes.close()
    for runner in fakes.runners.values():
        rows = [sum(len(item.positions) for item in batch) for batch in runner.calls]
        assert MOST_ROWS // 2 < max(rows) < MOST_ROWS + 64


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [EVERY_STEP, VERIFIED[1]], ids=repr)
@pytest.mark.parametrize("max_kv_tokens", [200, 1_000_000])
def test_scores_do_not_depend_on_room_or_portions(strategy: Any, max_kv_tokens: int) -> None:
    """Small caches, from which sequences are evicted, and batches smaller than a prompt."""
    words = [b"the", b" cat", b"s", b"\n", b"he", b"a", b"t", b" the", b"at", b"c"]
    limits = EngineLimits(max_batch_tokens=24, prefill_chunk=10)
    fakes = TRIOS["unrelated"].members(max_kv_tokens=max_kv_tokens)
    index = fakes.ensemble.union.index
    drawn = [index.get(words[(3 * n + n * n // 7) % 10], index[b"a"]) for n in range(36)]
    plain = replace(request_of(fakes, LONG, "free"), logprobs=2)
    requests = [replace(forcing(plain, tuple(drawn[n:]), 2), request_id=f"r{n}") for n in range(5)]
    with Running(fakes.ensemble, StrategyMaker(strategy), limits) as running:
        together = running.write(requests)
        evictions = running.engine.metrics.evictions
    assert bool(evictions) == (max_kv_tokens == 200)
    [alone] = write(fakes, strategy, requests[-1])
    fakes.close()
    assert [one.likelihood for one in alone.tokens] == [
        one.likelihood for one in together[-1].tokens
    ]
    assert all(
        len(one.tokens) >= len(request.forced.tokens)
        for one, request in zip(together, requests, strict=True)
    )


@pytest.mark.parametrize("strategy", [EVERY_STEP, GATED, REPLACED, VERIFIED[0]], ids=repr)
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_ids_of_the_reference_member_stay_as_they_were_sent(
    strategy: Any, temperature: float
) -> None:
    """Though they are not those that its tokenizer would give, and others' tokens follow them."""
    fakes = TRIOS["unrelated"].members()
    vocabulary = fakes.ensemble.vocabularies["ada"]
    ids = tuple(vocabulary.canonical[bytes([byte])] for byte in b"xx the cat")
    tokens = tuple(int(fakes.ensemble.union.places["ada"][own]) for own in ids)
    prompts = {**request_of(fakes, {**LONG, "prompt": "x"}, "x").prompts, "ada": Prompt(ids[:1])}
    sampling = Sampling(temperature, seed=2)
    forced = Forced(tokens[1:], "ada", ids[1:])
    request = GenerateRequest("forced", prompts, 20, sampling=sampling, forced=forced)
    [written] = write(fakes, strategy, replace(request, ignore_eos=True))
    fakes.close()
    assert len(written.tokens) == len(ids) - 1 + 20
    assert written.finish.prompt_tokens["ada"] == len(ids)
    told: list[int] = []
    for item in (item for batch in fakes.runners["ada"].calls for item in batch):
        told[item.kept :] = item.tail
        assert told[: len(ids)] == list(ids[: len(told)])
    assert len(told) > len(ids)
