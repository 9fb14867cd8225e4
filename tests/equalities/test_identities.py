"""Settings that must not matter, or must take everybody but one out: on real models."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from gac.config import EveryStepConfig, StrategyConfig, ThresholdConfig
from gac.core import GenerateRequest, Prompt, Sampling
from gac.decoding.strategies import StrategyMaker
from gac.model.listing import ROW_SIZE
from tests.support.collect import Running, Written
from tests.support.fakes import EagerSpeculation
from tests.support.oracle import Oracle, tokens_of
from tests.support.real_members import DEMO, ROOT, TRAINED, RealModel, real_ensemble, real_model
from tests.support.seed_texts import seed_texts

EVERY_STEP = EveryStepConfig()
TRIOS = [("llama", "gram-sliding", "gpt2"), *([DEMO] if len(DEMO) == 3 else [])]
TEXTS = ("the cat", "What is the capital of France?", "é 日本\n\n12 👍")


def requests_of(models: Mapping[str, RealModel]) -> list[GenerateRequest]:
    return [
        GenerateRequest(
            f"{'+'.join(models)}-{place}",
            {name: model.prompt(text, place % 2 == 1) for name, model in models.items()},
            24,
            min_new_tokens=5,
            sampling=Sampling(temperature=temperature, seed=place),
        )
        for place, text in enumerate(TEXTS)
        for temperature in (0.0, 0.9)
    ]


def write(
    models: Mapping[str, RealModel],
    requests: Sequence[GenerateRequest],
    config: StrategyConfig = EVERY_STEP,
    weights: Mapping[str, float] | None = None,
    names: Sequence[str] | None = None,
    drafts: EagerSpeculation | None = None,
    row_size: int = ROW_SIZE,
) -> tuple[list[Written], Oracle]:
    """One after the other; `names` are the members that take part."""
    with real_ensemble(models, weights=weights, row_size=row_size) as ensemble:
        written = []
        with Running(ensemble, StrategyMaker(config), None, drafts) as running:
            for place, request in enumerate(requests):
                prompts = {name: request.prompts[name] for name in names or models}
                asked = replace(request, request_id=str(place), prompts=prompts)
                written += running.write([asked])
        return written, Oracle(ensemble, models, config)


def require_same(
    oracle: Oracle,
    requests: Sequence[GenerateRequest],
    got: Sequence[Written],
    expected: Sequence[Written],
) -> None:
    for request, one, other in zip(requests, got, expected, strict=True):
        if oracle.require_same(request, tokens_of(one), tokens_of(other)):
            assert one.text == other.text


@pytest.mark.parametrize("trio", TRIOS, ids="+".join)
def test_members_permuted_write_the_same(trio) -> None:
    """To the bit: members are added up in the order of their names."""
    models = {name: real_model(name) for name in trio}
    requests = requests_of(models)
    expected, _ = write(models, requests)
    written, _ = write({name: models[name] for name in reversed(trio)}, requests)
    assert [tokens_of(one) for one in written] == [tokens_of(one) for one in expected]
    assert [one.text for one in written] == [one.text for one in expected]


@pytest.mark.parametrize("name", ["qwen2", "gram", *DEMO])
def test_a_model_with_its_twin_is_the_model(name) -> None:
    """To the bit: halves of equal rows add up to the row, and both own every token.

    Long and hot, so that ids come up that the tokenizer itself would not give for the text.
    """
    twins = {"one": real_model(name), "two": real_model(name)}
    requests = [
        replace(
            request, max_new_tokens=40, ignore_eos=True, sampling=Sampling(temperature=1.5, seed=9)
        )
        for request in requests_of(twins)[::2]
    ]
    both, _ = write(twins, requests)
    single, _ = write(twins, requests, names=["one"])
    assert [tokens_of(one) for one in both] == [tokens_of(one) for one in single]


@pytest.mark.parametrize("name", ["qwen2", "gram", *DEMO])
def test_drafts_of_a_twin_change_nothing(name) -> None:
    """Most are accepted; both own every token, though rows made one by one and in a chunk round
    differently, as shares that differ by so little are equal."""
    twins = {"one": real_model(name), "two": real_model(name)}
    requests = requests_of(twins)
    expected, oracle = write(twins, requests)
    drafts = EagerSpeculation("two", 5, twins)
    written, _ = write(twins, requests, drafts=drafts)
    require_same(oracle, requests, written, expected)
    for one in written:
        assert all(token.pick.owners == ("one", "two") for token in one.tokens)
    assert drafts.num_accepted > 0.6 * drafts.num_drafted


@pytest.mark.parametrize("trio", TRIOS, ids="+".join)
@pytest.mark.parametrize("row_size", [1, 3, 100_000])
def test_short_rows_and_all_entries_decide_the_same(trio, row_size) -> None:
    """To the bit: the same passes are made."""
    models = {name: real_model(name) for name in trio}
    requests = requests_of(models)
    expected, _ = write(models, requests)
    written, _ = write(models, requests, row_size=row_size)
    assert [tokens_of(one) for one in written] == [tokens_of(one) for one in expected]


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("trio", TRIOS, ids="+".join)
def test_drafts_of_any_member_change_nothing(trio, place) -> None:
    models = {name: real_model(name) for name in trio}
    requests = requests_of(models)
    expected, oracle = write(models, requests)
    drafts = EagerSpeculation(trio[place], 2 + place, trio)
    written, _ = write(models, requests, drafts=drafts)
    require_same(oracle, requests, written, expected)
    assert drafts.num_drafted > 20


def test_drafter_and_scorer_at_a_hard_context_limit() -> None:
    """GPT-Neo has 256 positions and fails at one more."""
    if "chatty" not in TRAINED:
        pytest.skip("the model chatty is not on this machine")
    models = {
        "chatty": real_model("chatty"),
        "twin": real_model("chatty"),
        "ada": real_model("ada"),
    }
    ids = models["chatty"].prompt("Once upon a time there was a cat. " * 40).ids[:236]
    text = models["chatty"].vocabulary.spell(ids).decode()
    prompts = {"chatty": Prompt(ids), "twin": Prompt(ids), "ada": models["ada"].prompt(text)}
    request = GenerateRequest("limit", prompts, 100, ignore_eos=True)
    expected, oracle = write(models, [request])
    for drafter in ("twin", "ada"):
        drafts = EagerSpeculation(drafter, 7, models)
        written, _ = write(models, [request], drafts=drafts)
        require_same(oracle, [request], written, expected)
        assert drafts.num_drafted > 5


@pytest.mark.parametrize("below", ["ensemble", "replace"])
@pytest.mark.parametrize("trio", TRIOS, ids="+".join)
def test_threshold_zero_is_the_gate_alone(trio, below) -> None:
    models = {name: real_model(name) for name in trio}
    requests = requests_of(models)
    config = ThresholdConfig(gate=trio[1], threshold=0.0, below=below)
    gated, _ = write(models, requests, config)
    single, _ = write(models, requests, names=[trio[1]])
    assert {one.finish.ensembled_tokens for one in gated} == {0}
    for one, other in zip(gated, single, strict=True):
        assert tokens_of(one) == tokens_of(other)


@pytest.mark.parametrize("trio", TRIOS, ids="+".join)
def test_threshold_one_is_every_step(trio) -> None:
    models = {name: real_model(name) for name in trio}
    requests = requests_of(models)
    expected, oracle = write(models, requests)
    gated, _ = write(models, requests, ThresholdConfig(gate=trio[1], threshold=1.0))
    require_same(oracle, requests, gated, expected)


@pytest.mark.parametrize("trio", TRIOS, ids="+".join)
def test_threshold_one_that_replaces_is_the_others_alone(trio) -> None:
    models = {name: real_model(name) for name in trio}
    requests = requests_of(models)
    config = ThresholdConfig(gate=trio[1], threshold=1.0, below="replace")
    gated, oracle = write(models, requests, config)
    others, _ = write(models, requests, names=[trio[0], trio[2]])
    require_same(oracle, requests, gated, others)


@pytest.mark.parametrize("trio", TRIOS, ids="+".join)
def test_weights_one_and_zero_are_the_first_member_alone(trio) -> None:
    models = {name: real_model(name) for name in trio}
    requests = requests_of(models)
    weights = {name: float(name == trio[0]) for name in trio}
    weighted, oracle = write(models, requests, weights=weights)
    single, _ = write(models, requests, names=[trio[0]])
    require_same(oracle, requests, weighted, single)


@pytest.mark.parametrize("trio", TRIOS, ids="+".join)
def test_settings_that_must_matter_do(trio) -> None:
    """Guards the tests above: all together, one, another and two write differently."""
    models = {name: real_model(name) for name in trio}
    requests = requests_of(models)
    texts = {
        tuple(one.text for one in write(models, requests, names=names)[0])
        for names in (trio, trio[:1], trio[1:2], trio[::2])
    }
    assert len(texts) == 4


@pytest.mark.slow
def test_hash_seeds_change_nothing() -> None:
    """Neither of two other processes' seeds, nor this one's."""
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.support.seed_texts"],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("1", "4242")
    ]
    printed = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert [json.loads(text) for text in printed] == [seed_texts()] * 2
