"""Settings that must not matter, or must take everybody but one out: on real models."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from gac.config import EveryStepConfig, StrategyConfig, ThresholdConfig
from gac.core import GenerateRequest, Sampling
from gac.decoding.strategies import strategy_maker
from tests.collect import Running, Written
from tests.equalities.oracle import Oracle, tokens_of
from tests.equalities.seed_texts import seed_texts
from tests.real_members import DEMO, ROOT, RealModel, real_ensemble, real_model

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
) -> tuple[list[Written], Oracle]:
    """One after the other; `names` are the members that take part."""
    with real_ensemble(models, weights=weights) as ensemble:
        written = []
        with Running(ensemble, strategy_maker(config)) as running:
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


def test_hash_seeds_change_nothing() -> None:
    """Neither of two other processes' seeds, nor this one's."""
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.equalities.seed_texts"],
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
