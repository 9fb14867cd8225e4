"""A neighbour changes nothing: batches, arrival, aborts, evictions, chunks, members' order."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from gac.config import EveryStepConfig, ThresholdConfig
from gac.core import FinishReason, GenerateRequest, Sampling
from gac.decoding.strategies import strategy_maker
from gac.engine.engine import EngineLimits
from tests.collect import Running
from tests.fakes import (
    FakeEnsemble,
    byte_level_definition,
    fake_ensemble,
    prompt_for,
    unigram_definition,
)

DEFINITIONS = {
    "ada": byte_level_definition([" the", " cat", "he", "at", "é"]),
    "bora": unigram_definition([*"abcdefghijklmnopqrstuvwxyz", " the", " cat", "ca", "é"]),
    "cleo": byte_level_definition(["th", " c", "cat", "\n\n"]),
}
EVERY_STEP = EveryStepConfig()
GATED = ThresholdConfig(gate="bora", threshold=0.25)
REPLACED = ThresholdConfig(gate="ada", threshold=0.25, below="replace")
STRATEGIES = st.sampled_from([EVERY_STEP, GATED, REPLACED])
SPECS = st.fixed_dictionaries(
    {
        "prompt": st.text("the cat\n", min_size=1, max_size=60),
        "lead": st.booleans(),
        "max_new_tokens": st.integers(1, 24),
        "stop": st.sampled_from([(), ("e",), ("th", "\n"), ("zz",)]),
        "ignore_eos": st.booleans(),
        "sampling": st.builds(
            Sampling, temperature=st.sampled_from([0.0, 1.0]), seed=st.integers(0, 9)
        ),
    }
)


def members(**changes: object) -> FakeEnsemble:
    return fake_ensemble(DEFINITIONS, leading=["bora"], end_bias=3.0, **changes)


def request_of(fakes: FakeEnsemble, spec: dict, request_id: str) -> GenerateRequest:
    rest = {key: value for key, value in spec.items() if key not in ("prompt", "lead")}
    prompts = prompt_for(fakes, spec["prompt"], spec["lead"])
    return GenerateRequest(request_id=request_id, prompts=prompts, **rest)


def alone(spec: dict, strategy) -> tuple[str, FinishReason, list[bytes]]:
    fakes = members()
    with Running(fakes.ensemble, strategy_maker(strategy)) as running:
        [written] = running.write([request_of(fakes, spec, "alone")])
    fakes.close()
    return written.text, written.finish.reason, written.token_bytes


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    specs=st.lists(SPECS, min_size=2, max_size=8),
    strategy=STRATEGIES,
    max_sequences=st.sampled_from([1, 3, 16]),
    max_batch_tokens=st.sampled_from([1, 7, 2048]),
    kv_tokens=st.sampled_from([140, 300, 100_000]),
    aborted=st.sets(st.integers(0, 7)),
)
def test_request_in_a_busy_batch_equals_the_request_alone(
    specs, strategy, max_sequences, max_batch_tokens, kv_tokens, aborted
) -> None:
    fakes = members(max_kv_tokens=kv_tokens)
    limits = EngineLimits(max_sequences=max_sequences, max_batch_tokens=max_batch_tokens)
    with Running(fakes.ensemble, strategy_maker(strategy), limits) as running:
        written = []
        for place, spec in enumerate(specs):
            written += running.submit([request_of(fakes, spec, str(place))])
            if place in aborted:
                running.engine.abort(str(place))
        for one in written:
            assert one.done.wait(60), "the engine hangs"
    assert running.engine.num_running == running.engine.num_waiting == 0
    fakes.close()
    for place, (spec, one) in enumerate(zip(specs, written, strict=True)):
        text, reason, tokens = alone(spec, strategy)
        if one.finish.reason is FinishReason.ABORT:
            assert place in aborted
            assert one.token_bytes == tokens[: len(one.token_bytes)]
            assert text.startswith(one.text) or "\ufffd" in one.text
        else:
            assert (one.text, one.finish.reason) == (text, reason)
            assert one.token_bytes == tokens
    for runner in fakes.runners.values():
        assert not runner.told, "a member still remembers a sequence"


def test_sequences_are_evicted_and_come_back() -> None:
    fakes = members(max_kv_tokens=130)
    spec = {"prompt": "the cat", "lead": False, "max_new_tokens": 24, "ignore_eos": True}
    with Running(fakes.ensemble, strategy_maker(EVERY_STEP)) as running:
        requests = [request_of(fakes, spec, str(place)) for place in range(6)]
        written = running.write(requests)
        assert running.engine.metrics.evictions > 0
    fakes.close()
    assert {one.text for one in written} == {alone(spec, EVERY_STEP)[0]}


@settings(max_examples=25, deadline=None, derandomize=True)
@given(spec=SPECS, strategy=STRATEGIES, order=st.permutations(list(DEFINITIONS)))
def test_members_permuted_write_the_same_text(spec, strategy, order) -> None:
    seeds = {name: place for place, name in enumerate(DEFINITIONS)}
    fakes = fake_ensemble(
        {name: DEFINITIONS[name] for name in order}, seeds=seeds, leading=["bora"], end_bias=3.0
    )
    with Running(fakes.ensemble, strategy_maker(strategy)) as running:
        [written] = running.write([request_of(fakes, spec, "r")])
    fakes.close()
    assert (written.text, written.finish.reason, written.token_bytes) == alone(spec, strategy)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(spec=SPECS)
def test_threshold_one_is_every_step_and_zero_is_the_gate(spec) -> None:
    def write(strategy, names=tuple(DEFINITIONS)):
        fakes = members()
        request = request_of(fakes, spec, "r")
        request = replace(request, prompts={name: request.prompts[name] for name in names})
        with Running(fakes.ensemble, strategy_maker(strategy)) as running:
            [written] = running.write([request])
        fakes.close()
        return written.token_bytes

    assert write(ThresholdConfig(gate="cleo", threshold=1.0)) == write(EVERY_STEP)
    gate_alone = write(EVERY_STEP, names=("cleo",))
    assert write(ThresholdConfig(gate="cleo", threshold=0.0)) == gate_alone


@settings(max_examples=15, deadline=None, derandomize=True)
@given(spec=SPECS)
def test_a_model_with_its_twin_is_the_model(spec) -> None:
    twins = dict.fromkeys(("one", "two"), DEFINITIONS["bora"])
    texts = []
    for names in (["one"], ["one", "two"]):
        fakes = fake_ensemble({name: twins[name] for name in names}, seeds=dict.fromkeys(names, 7))
        with Running(fakes.ensemble, strategy_maker(EVERY_STEP)) as running:
            [written] = running.write([request_of(fakes, {**spec, "lead": False}, "r")])
        fakes.close()
        texts.append((written.text, written.finish.reason))
    assert texts[0] == texts[1]


@settings(max_examples=15, deadline=None, derandomize=True)
@given(spec=SPECS)
def test_weights_one_and_zero_are_the_first_member_alone(spec) -> None:
    fakes = members()
    request = request_of(fakes, spec, "r")
    alone_request = replace(request, prompts={"ada": request.prompts["ada"]})
    with Running(fakes.ensemble, strategy_maker(EVERY_STEP)) as running:
        [first] = running.write([alone_request])
    fakes.close()
    weights = {"ada": 1.0, "bora": 0.0, "cleo": 0.0}
    fakes = members(weights=weights)
    with Running(fakes.ensemble, strategy_maker(EVERY_STEP)) as running:
        [both] = running.write([replace(request, request_id="w")])
    fakes.close()
    assert both.token_bytes == first.token_bytes
