"""SAFE as its equations say, and what it must be equal to."""

import time
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gac.config import ArithmeticConfig, EveryStepConfig, SafeConfig
from gac.core import FinishReason, GenerateRequest, Sampling
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
)
from tests.support.examples import examples
from tests.support.fakes import (
    FakeEnsemble,
    HashRunner,
    byte_level_definition,
    fake_ensemble,
    prompt_for,
    unigram_definition,
)
from tests.support.methods import AGGREGATIONS, FUZZED_STRATEGIES, aggregate_of, joined
from tests.support.reference_safe import Safe

EVERY_STEP = EveryStepConfig()
SAFE = SafeConfig(drafter="m0")


def write(fakes: FakeEnsemble, config: object, request: GenerateRequest) -> Written:
    with Running(fakes.ensemble, StrategyMaker(config)) as running:
        [written] = running.write([request])
    fakes.close()
    return written


LONG_PIECES = [a + b + c + d for a in "ab" for b in "ab" for c in "ab" for d in ("", "a", "b ")]
FEW_BYTES = byte_level_definition([" a", "ba"], missing=bytes(range(128, 256)) + b"xyz#!")
LONG_WORDS = byte_level_definition(LONG_PIECES)
TORN_APART = {
    "definitions": [byte_level_definition(["ab"]), LONG_WORDS],
    "config": SAFE,
    "sampling": Sampling(),
    "aggregation": ArithmeticConfig(),
    "guard": False,
    "rule": "canonical",
    "lead": False,
    "scores": [1, 1, 1],
    "sharpness": 3.0,
    "min_new_tokens": 4,
    "space_bias": 0.0,
    "row_size": 4,
    "near": False,
    "fond": 9.0,
}
"""The drafter writes by letters what the other has in pieces of three and more."""


@examples(100)
@example(**TORN_APART)
@example(**{**TORN_APART, "sampling": Sampling(temperature=1.0, seed=4)})
@example(
    **{
        **TORN_APART,
        "definitions": [byte_level_definition(["ab"]), unigram_definition(LONG_PIECES)],
    }
)
@example(**{**TORN_APART, "fond": 0.0, "definitions": [LONG_WORDS, FEW_BYTES]})
@example(**{**TORN_APART, "fond": 0.0, "definitions": [FEW_BYTES, LONG_WORDS]})
@given(
    definitions=st.lists(DEFINITIONS, min_size=2, max_size=3),
    config=FUZZED_STRATEGIES["safe"],
    sampling=st.one_of(st.just(Sampling()), st.just(Sampling()), SAMPLINGS),
    rule=st.sampled_from(["canonical", "append"]),
    lead=st.booleans(),
    aggregation=st.sampled_from(AGGREGATIONS),
    guard=GUARDS,
    scores=SCORES,
    sharpness=st.sampled_from([1.0, 3.0, 5.0]),
    min_new_tokens=st.sampled_from([0, 4]),
    space_bias=st.sampled_from([0.0, 10.0]),
    row_size=st.sampled_from([1, 4, ROW_SIZE]),
    near=st.booleans(),
    fond=st.sampled_from([0.0, 6.0, 6.0]),
)
def check_against_reference(
    seen: Counter[str],
    definitions,
    config,
    sampling,
    aggregation,
    guard,
    rule,
    lead,
    scores,
    sharpness,
    min_new_tokens,
    space_bias,
    row_size,
    near,
    fond,
) -> None:
    """Members `fond` of a few letters write what others have in larger pieces."""
    config = joined(config, aggregation, guard, sampling.temperature == 0.0)
    fakes = drawn_ensemble(
        definitions,
        scores,
        lead,
        near,
        wobble=0.5,
        rule=rule,
        sharpness=sharpness,
        space_bias=space_bias,
        row_size=row_size,
    )
    for name, runner in fakes.runners.items():
        spelled = enumerate(fakes.ensemble.vocabularies[name].token_bytes)
        letters = [i for i, token in spelled if token and not token.strip(b"ab ")]
        runner.biases = {**runner.biases, **dict.fromkeys(letters, fond)}
    request = GenerateRequest(
        request_id="r",
        prompts=prompt_for(fakes, "ab a", lead),
        max_new_tokens=20,
        min_new_tokens=min_new_tokens,
        sampling=sampling,
    )
    oracle = Safe(
        config,
        reference_members(fakes, request),
        fakes.ensemble.weights,
        max_new_tokens=20,
        rule=rule,
        sampling=sampling,
        noise=reference_noise(sampling),
        min_new_tokens=min_new_tokens,
        aggregate=aggregate_of(config),
    )
    tokens, joint, ended = oracle.generate()
    written = write(fakes, config, request)
    assert written.token_bytes == tokens
    assert [len(event.asked) > 1 for event in written.tokens] == joint
    assert written.finish.ensembled_tokens == sum(joint)
    assert written.finish.reason is (FinishReason.STOP if ended else FinishReason.LENGTH)
    seen["joint"] += sum(joint[1:])
    seen["drafted"] += len(joint) - sum(joint)
    seen["abstained"] += bool(written.finish.abstained)
    seen.update(oracle.seen)


def test_engine_writes_what_the_equations_say() -> None:
    seen: Counter[str] = Counter()
    check_against_reference(seen)
    for what in ("joint", "drafted", "OOV-like", "held back", "abstained"):
        assert seen[what], seen  # the examples see to it


def twins(words: tuple[str, ...] = (" the", " cat", "he", "at"), **changes: object) -> FakeEnsemble:
    """Two members with one tokenizer; of one mind unless told otherwise."""
    definition = byte_level_definition(words)
    same = {"seeds": {"m0": 0, "m1": 0}, "sharpness": 5.0, **changes}
    return fake_ensemble({"m0": definition, "m1": definition}, **same)


def request_of(fakes: FakeEnsemble, text: str = "the cat", **changes: object) -> GenerateRequest:
    plain = GenerateRequest("r", prompt_for(fakes, text), 40, ignore_eos=True)
    return replace(plain, **changes)


def texts(make, configs, **changes: object) -> list[Written]:
    """What the same members write under several configurations."""
    given = []
    for config in configs:
        fakes = make()
        given.append(write(fakes, config, request_of(fakes, **changes)))
    return given


SAMPLED = [Sampling(temperature=0.9, top_p=0.9, seed=3), Sampling(temperature=1.0, seed=1)]


@pytest.mark.parametrize("sampling", [Sampling(), *SAMPLED])
@pytest.mark.parametrize("seed", [0, 2])
@pytest.mark.parametrize("max_tokens", [1, 8])
def test_identical_tokenizers_write_as_every_step(seed, sampling, max_tokens) -> None:
    """Ids are the same whoever writes, as each token is appended by itself.

    In samples only if no token is let through.
    """
    seeds = {"m0": seed, "m1": seed + 10}
    cut = 1.0 if sampling.temperature else 0.5
    config = SafeConfig(drafter="m0", max_tokens=max_tokens, consensus=cut)
    changes = {"sampling": sampling, "ignore_eos": False}
    for wobbles, lineup in (({}, seeds), ({"m1": 1.5}, dict.fromkeys(seeds, seed))):
        alone, safe = texts(
            lambda lineup=lineup, wobbles=wobbles: twins(
                rule="append", seeds=lineup, wobbles=wobbles, end_bias=3.0
            ),
            [EVERY_STEP, config],
            **changes,
        )
        assert safe.token_bytes == alone.token_bytes
        assert (safe.text, safe.finish.reason) == (alone.text, alone.finish.reason)
        if not sampling.temperature and wobbles:
            assert 0 < safe.finish.ensembled_tokens < len(safe.tokens)


def twins_of_letters(words: tuple[str, ...], rule: str, seed: int) -> FakeEnsemble:
    """Members with one tokenizer that mostly write the letters a and b one by one."""
    seeds = {"m0": seed, "m1": seed}
    fakes = twins(words, rule=rule, seeds=seeds, sharpness=3.0, wobbles={"m1": 1.5})
    for name, runner in fakes.runners.items():
        letters = [fakes.ensemble.vocabularies[name].canonical[letter] for letter in (b"a", b"b")]
        runner.biases = {**runner.biases, **dict.fromkeys(letters, 9.0)}
    return fakes


def is_as_every_step(words: tuple[str, ...], rule: str, seed: int) -> bool:
    """Whether such members write the same by SAFE."""
    every, safe = texts(lambda: twins_of_letters(words, rule, seed), [EVERY_STEP, SAFE])
    return every.token_bytes == safe.token_bytes


def test_retokenising_lets_identical_tokenizers_differ_from_every_step() -> None:
    """Under `append` SAFE = every step; under `canonical` only where all ids are canonical.

    What the drafter writes letter by letter a verifier reads as a word: other ids, other rows.  If
    the tokenizer has no words but bytes, all ids are canonical.
    """
    words = ("ab", "ba", "aab", "bba")
    differing = [seed for seed in range(4) if not is_as_every_step(words, "canonical", seed)]
    assert differing
    for seed in differing:
        assert is_as_every_step(words, "append", seed)
        assert is_as_every_step((), "canonical", seed)


@pytest.mark.parametrize("rule", ["canonical", "append"])
@pytest.mark.parametrize("sampling", [Sampling(), SAMPLED[0]])
def test_verifiers_that_agree_write_as_the_drafter_alone(rule, sampling) -> None:
    """And those whose agreement nobody asks for."""
    lineups = {
        "twins": (lambda: twins(rule=rule), SAFE),
        "any": (lambda: twins(rule=rule, seeds=None), replace_config(consensus=0.0)),
        "gate": (lambda: twins(rule=rule, seeds=None), replace_config(extra_gate=0.0)),
    }
    for make, config in lineups.values():
        fakes = make()
        request = request_of(fakes, sampling=sampling)
        alone = write(fakes, EVERY_STEP, replace(request, prompts={"m0": request.prompts["m0"]}))
        [written] = texts(make, [config], sampling=sampling)
        assert written.token_bytes == alone.token_bytes
        if not sampling.temperature:
            assert {event.asked for event in written.tokens[1:]} == {("m0",)}


def replace_config(**changes: object) -> SafeConfig:
    return SAFE.model_copy(update=changes)


def test_verifiers_of_a_drafter_they_agree_with_are_asked_once_a_draft() -> None:
    fakes = twins(rule="append")
    write(fakes, SAFE, request_of(fakes, max_new_tokens=41))
    passes = [item for [item] in fakes.runners["m1"].calls if item.positions]
    assert len(passes) <= 1 + 40 // 5
    tails = sum(len(item.tail) for [item] in fakes.runners["m0"].calls)
    assert tails <= len(request_of(fakes).prompts["m0"].ids) + 41, "nothing is drafted twice"


@pytest.mark.parametrize("stop", ["e", "th", " "])
@pytest.mark.parametrize("rule", ["canonical", "append"])
def test_what_follows_a_stop_is_dropped(stop, rule) -> None:
    free, cut = (
        texts(lambda: twins(rule=rule, wobbles={"m1": 1.5}), [SAFE], stop=stops)[0]
        for stops in ((), (stop,))
    )
    assert cut.text == free.text.split(stop)[0] != free.text
    assert cut.token_bytes == free.token_bytes[: len(cut.token_bytes)]


@pytest.mark.parametrize("count", range(1, 15))
def test_no_token_is_drafted_that_could_not_be_written(count: int) -> None:
    fakes = twins(rule="append", wobbles={"m1": 1.5})
    written = write(fakes, SAFE, request_of(fakes, max_new_tokens=count))
    assert written.finish.completion_tokens == count
    prompt = len(request_of(fakes).prompts["m0"].ids)
    for runner in fakes.runners.values():
        longest = max(item.kept + len(item.tail) for batch in runner.calls for item in batch)
        assert longest < prompt + count, "a row is wanted before every token"


@pytest.mark.parametrize("max_context", [10, 13, 16, 25])
def test_drafts_end_at_the_context_limit(max_context: int) -> None:
    """The runner fails where it is told more ids than fit; `m1` spells words by bytes."""
    fakes = fake_ensemble(
        {"m0": byte_level_definition([" the", "the", "cat"]), "m1": byte_level_definition(["xy"])},
        max_context=max_context,
        sharpness=5.0,
    )
    fakes.runners["m0"].biases = dict.fromkeys(range(256, 264), 12.0)
    written = write(fakes, SAFE, request_of(fakes))
    assert written.finish.reason is FinishReason.LENGTH
    assert 0 < written.finish.completion_tokens < 20


class SlowRunner:
    """Waits, before it answers, for another of the same ids to be told more than it was."""

    def __init__(self, inner: HashRunner, other: HashRunner) -> None:
        self._inner, self._other = inner, other
        self.num_overlaps = 0

    def extend(self, batch):
        [item] = batch
        length, deadline = item.kept + len(item.tail), time.monotonic() + 0.5
        while len(self._other.told.get(item.sequence, ())) <= length:
            if time.monotonic() > deadline:
                break
            time.sleep(0.001)
        self.num_overlaps += len(self._other.told.get(item.sequence, ())) > length
        return self._inner.extend(batch)

    def release(self, sequences) -> None:
        self._inner.release(sequences)


def test_drafter_goes_on_while_its_draft_is_looked_at() -> None:
    """Not with the first draft, whose fate nobody knows; then with all but the last."""
    expected = texts(lambda: twins(rule="append"), [SAFE])[0]
    fakes = twins(rule="append")
    slow = SlowRunner(fakes.runners["m1"], fakes.runners["m0"])
    fakes.ensemble.members["m1"]._host._runner = slow
    written = write(fakes, SAFE, request_of(fakes))
    assert written.token_bytes == expected.token_bytes
    assert slow.num_overlaps > 3


@pytest.mark.parametrize("wobbles", [{}, {"m1": 3.0}])
def test_drafted_and_wasted_tokens_are_counted(wobbles) -> None:
    fakes = twins(rule="append", wobbles=wobbles)
    with Running(fakes.ensemble, StrategyMaker(SAFE)) as running:
        [written] = running.write([request_of(fakes)])
    fakes.close()
    metrics, replaced = running.engine.metrics, written.finish.ensembled_tokens - 1
    assert metrics.drafted - metrics.wasted == 39 - replaced
    assert metrics.wasted >= replaced
    assert (replaced > 0) is (metrics.wasted > 0) is bool(wobbles)
