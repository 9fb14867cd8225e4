"""Penalties and biases: what the equations say, and what they must leave alone."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gac.config import (
    ArithmeticConfig,
    EveryStepConfig,
    GeometricConfig,
    MinConfig,
    SafeConfig,
    ThresholdConfig,
)
from gac.core import (
    END,
    FinishReason,
    Forced,
    GenerateRequest,
    Penalties,
    Prompt,
    Sampling,
)
from gac.decoding.strategies import StrategyMaker
from gac.model.listing import ROW_SIZE
from tests.support.collect import Running, Written
from tests.support.drawn import (
    DEFINITIONS,
    GUARDS,
    SAMPLINGS,
    SCORES,
    drawn_ensemble,
    reference_members,
    reference_noise,
    speculate,
)
from tests.support.examples import examples
from tests.support.fakes import FakeEnsemble, byte_level_definition, prompt_for
from tests.support.methods import AGGREGATIONS, STRATEGIES, joined, written_by
from tests.support.reference import Penalise, penalising
from tests.support.trios import GATED, SPECS, alone, members, request_of, said
from tests.support.trios import STRATEGIES as TRIO_STRATEGIES

PENALTIES = st.builds(
    Penalties,
    presence=st.sampled_from([0.0, 0.0, 2.0, 0.7, -1.5]),
    frequency=st.sampled_from([0.0, 0.0, 1.3, 0.4, -0.6]),
    repetition=st.sampled_from([1.0, 1.0, 1.4, 3.0, 0.6]),
    bias=st.dictionaries(
        st.integers(0, 120), st.sampled_from([-100.0, -3.0, 0.0, 2.5, 6.0, 100.0]), max_size=4
    ),
)
LETTERS = byte_level_definition([" a", "ba", "ab"])
PAIR = [LETTERS, byte_level_definition(["ab", "a b", "ba"])]


def reference_penalise(fakes: FakeEnsemble, request: GenerateRequest) -> Penalise:
    union, values = fakes.ensemble.union, request.penalties
    read = [
        union.tokens[place]
        for name, prompt in request.prompts.items()
        for place in union.places[name][list(prompt.ids)]
        if place >= 0
    ]
    bias = {union.tokens[token]: value for token, value in values.bias.items()}
    return penalising(values.presence, values.frequency, values.repetition, bias, read)


@examples(60)
@given(
    definitions=st.lists(DEFINITIONS, min_size=1, max_size=3),
    strategy=STRATEGIES,
    aggregation=st.sampled_from(AGGREGATIONS),
    guard=GUARDS,
    sampling=SAMPLINGS,
    penalties=PENALTIES,
    lead=st.booleans(),
    scores=SCORES,
    sharpness=st.sampled_from([1.0, 3.0]),
    min_new_tokens=st.sampled_from([0, 4]),
    row_size=st.sampled_from([1, 4, ROW_SIZE]),
    drafter=st.sampled_from([None, "m0", "m1"]),
    near=st.booleans(),
    logprobs=st.sampled_from([None, 0, 3]),
)
def test_engine_writes_what_the_reference_writes(
    definitions,
    strategy,
    aggregation,
    guard,
    sampling,
    penalties,
    lead,
    scores,
    sharpness,
    min_new_tokens,
    row_size,
    drafter,
    near,
    logprobs,
) -> None:
    """Whatever rows list, and whoever drafts: drafts count their own tokens, too."""
    fakes = drawn_ensemble(
        definitions, scores, lead, near, wobble=0.5, sharpness=sharpness, row_size=row_size
    )
    request = GenerateRequest(
        request_id="r",
        prompts=prompt_for(fakes, "ab a", lead),
        max_new_tokens=14,
        min_new_tokens=min_new_tokens,
        sampling=sampling,
        penalties=penalties,
        logprobs=logprobs,
    )
    strategy = joined(strategy, aggregation, guard, sampling.temperature == 0.0)
    tokens, ended = written_by(
        strategy,
        reference_members(fakes, request),
        fakes.ensemble.weights,
        max_new_tokens=14,
        sampling=sampling,
        noise=reference_noise(sampling),
        min_new_tokens=min_new_tokens,
        penalise=reference_penalise(fakes, request),
    )
    speculation = speculate(drafter, list(fakes.runners))
    with Running(fakes.ensemble, StrategyMaker(strategy), None, speculation) as running:
        [written] = running.write([request])
    fakes.close()
    assert written.token_bytes == tokens
    assert written.finish.reason is (FinishReason.STOP if ended else FinishReason.LENGTH)


def write(
    strategy, row_size: int = ROW_SIZE, speculation: bool = False, **asked: object
) -> tuple[Written, tuple[int, int]]:
    """What two like members write, and how many rows had to be completed, by entries or wholly."""
    fakes = drawn_ensemble(PAIR, [1, 2], False, True, wobble=1.0, row_size=row_size)
    request = GenerateRequest("r", prompt_for(fakes, "ab a"), max_new_tokens=20, ignore_eos=True)
    eager = speculate("m0" if speculation else None, list(fakes.runners))
    with Running(fakes.ensemble, StrategyMaker(strategy), None, eager) as running:
        [written] = running.write([replace(request, **asked)])
        metrics = running.engine.metrics
    fakes.close()
    return written, (metrics.completed, metrics.dense)


def token(spelled: bytes) -> int:
    fakes = drawn_ensemble(PAIR, [1, 2], False, True)
    fakes.close()
    return fakes.ensemble.union.index[spelled]


WAYS = [
    EveryStepConfig(),
    EveryStepConfig(aggregation=GeometricConfig()),
    EveryStepConfig(aggregation=MinConfig(), conflict_guard="m0"),
    ThresholdConfig(gate="m0", threshold=0.3),
    SafeConfig(drafter="m0", consensus=0.3),
]


@pytest.mark.parametrize("strategy", WAYS, ids=lambda one: one.name)
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_neutral_values_change_nothing(strategy, temperature: float) -> None:
    if temperature and getattr(strategy, "conflict_guard", False):
        pytest.skip("a conflict guard is greedy")
    asked = {"sampling": Sampling(temperature, top_k=5 if temperature else 0, seed=3)}
    plain, completions = write(strategy, **asked)
    neutral = Penalties(0.0, 0.0, 1.0, {token(b"a"): 0.0})
    same, completed = write(strategy, **asked, penalties=neutral)
    assert [e.pick for e in same.tokens] == [e.pick for e in plain.tokens]
    assert completed == completions


@pytest.mark.parametrize("strategy", WAYS, ids=lambda one: one.name)
@pytest.mark.parametrize("row_size", [4, ROW_SIZE])
def test_a_bias_of_100_forces_a_token_and_of_minus_100_bans_it(strategy, row_size: int) -> None:
    plain, _ = write(strategy, row_size)
    common = max(set(plain.token_bytes), key=plain.token_bytes.count)
    banned, _ = write(strategy, row_size, penalties=Penalties(bias={token(common): -100.0}))
    assert common not in banned.token_bytes
    rare = next(bytes([byte]) for byte in range(97, 123) if bytes([byte]) not in plain.token_bytes)
    forced, (_, dense) = write(strategy, row_size, penalties=Penalties(bias={token(rare): 100.0}))
    assert forced.token_bytes == [rare] * 20
    if isinstance(strategy.aggregation, ArithmeticConfig):
        assert dense == 0, "rows list a token that is favoured, so nothing else is asked for"


def test_a_bias_on_end_ends_the_text() -> None:
    ended, _ = write(EveryStepConfig(), ignore_eos=False, penalties=Penalties(bias={END: 100.0}))
    assert ended.finish.reason is FinishReason.STOP
    assert not ended.tokens
    banned, _ = write(EveryStepConfig(), ignore_eos=False, penalties=Penalties(bias={END: -100.0}))
    assert banned.finish.reason is FinishReason.LENGTH


@pytest.mark.parametrize("strategy", WAYS, ids=lambda one: one.name)
def test_each_penalty_has_an_effect(strategy) -> None:
    """Among a few tokens that are favoured, and so written again and again."""
    few = {token(spelled): 9.0 for spelled in (b"a", b"b", b" ", b"ab", b"z", b"q")}

    def num_kinds(**values: float) -> int:
        written, _ = write(strategy, penalties=Penalties(**values, bias=few))
        return len(set(written.token_bytes))

    plain = num_kinds()
    assert plain < 12
    for name, value in (("presence", 2.0), ("frequency", 2.0), ("repetition", 3.0)):
        assert num_kinds(**{name: value}) > plain
    assert num_kinds(presence=-2.0, frequency=-2.0) < plain


@examples(20)
@given(PENALTIES, st.sampled_from([Sampling(), Sampling(1.0, top_k=5, seed=4), Sampling(0.7)]))
def test_drafts_change_nothing(penalties: Penalties, sampling: Sampling) -> None:
    asked = {"penalties": penalties, "sampling": sampling}
    alone, _ = write(EveryStepConfig(), **asked)
    drafted, _ = write(EveryStepConfig(), speculation=True, **asked)
    assert drafted.token_bytes == alone.token_bytes


@pytest.mark.slow
@examples(12)
@given(
    st.lists(st.tuples(SPECS, PENALTIES, st.sampled_from([None, 0, 5])), min_size=2, max_size=4),
    TRIO_STRATEGIES,
)
def test_neighbours_change_nothing(asked, strategy) -> None:
    specs = [
        {**spec, "penalties": penalties, "logprobs": logprobs}
        for spec, penalties, logprobs in asked
    ]
    fakes = members()
    with Running(fakes.ensemble, StrategyMaker(strategy)) as running:
        batch = running.write(
            [request_of(fakes, spec, f"r{place}") for place, spec in enumerate(specs)]
        )
    fakes.close()
    for spec, written in zip(specs, batch, strict=True):
        by_itself = alone(spec, strategy)
        assert said(written) == said(by_itself)
        assert [e.likelihood for e in written.tokens] == [e.likelihood for e in by_itself.tokens]
        assert [e.num_shown for e in written.tokens] == [e.num_shown for e in by_itself.tokens]


@examples(20)
@given(PENALTIES, st.sampled_from(WAYS), st.sampled_from([Sampling(), Sampling(0.7, seed=5)]))
def test_forced_tokens_count_as_the_prompt_that_they_are(penalties, strategy, sampling) -> None:
    """Members of one tokenizer go on from forced tokens as from a prompt that ends with them."""
    if sampling.temperature and getattr(strategy, "conflict_guard", False):
        strategy = EveryStepConfig()
    texts = []
    for split in (2, 6):
        fakes = drawn_ensemble([LETTERS] * 2, [1, 2], False, True, wobble=1.0)
        ids = fakes.ensemble.vocabularies["m0"].encoder.encode(b"ab a b ba")
        union_ids = fakes.ensemble.union.places["m0"][ids].tolist()
        request = GenerateRequest(
            request_id="r",
            prompts={name: Prompt(tuple(ids[:split])) for name in fakes.runners},
            max_new_tokens=12,
            ignore_eos=True,
            sampling=sampling,
            penalties=penalties,
            forced=Forced(tuple(union_ids[split:]), "m0", tuple(ids[split:])),
        )
        with Running(fakes.ensemble, StrategyMaker(strategy)) as running:
            [written] = running.write([request])
        fakes.close()
        num_forced = len(ids) - split
        assert [e.pick.token for e in written.tokens[:num_forced]] == union_ids[split:]
        texts.append(written.token_bytes[num_forced:])
    assert texts[0] == texts[1]
    assert len(texts[0]) == 12


def test_gates_are_compared_without_penalties() -> None:
    """The gate is as sure of itself as ever, so the same tokens are its own."""
    spec = {"prompt": "the cat", "lead": False, "max_new_tokens": 24, "ignore_eos": True}
    written = alone({**spec, "penalties": Penalties(presence=1.0), "trace": 1}, GATED)
    for event in written.tokens:
        assert event.trace is not None
        [gate] = [one for one in event.trace.members if one.member == "bora"]
        assert (gate.confidence > 0.25) is (len(event.trace.members) == 1)
