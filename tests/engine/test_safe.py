"""SAFE as its equations say, and what it must be equal to."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gac.config import EveryStepConfig, SafeConfig
from gac.core import FinishReason, GenerateRequest, Sampling
from gac.decoding.strategies import strategy_maker
from gac.model.listing import ROW_SIZE
from tests.collect import Running, Written
from tests.engine.test_against_reference import (
    DEFINITIONS,
    SAMPLINGS,
    reference_members,
    reference_noise,
)
from tests.fakes import FakeEnsemble, byte_level_definition, fake_ensemble, prompt_for
from tests.reference_safe import Safe

EVERY_STEP = EveryStepConfig()
SAFE = SafeConfig(drafter="m0")
CONFIGS = st.builds(
    SafeConfig,
    drafter=st.just("m0"),
    max_tokens=st.sampled_from([1, 2, 5, 8]),
    consensus=st.sampled_from([0.0, 0.2, 0.5, 0.5, 1.0]),
    extra_gate=st.sampled_from([1.0, 1.0, 0.4]),
    sharpen=st.sampled_from(["none", "prefix_merge", "geometric"]),
)


def write(fakes: FakeEnsemble, config: object, request: GenerateRequest) -> Written:
    with Running(fakes.ensemble, strategy_maker(config)) as running:
        [written] = running.write([request])
    fakes.close()
    return written


@settings(max_examples=250, deadline=None, derandomize=True)
@given(
    definitions=st.lists(DEFINITIONS, min_size=2, max_size=3),
    config=CONFIGS,
    sampling=st.one_of(st.just(Sampling()), st.just(Sampling()), SAMPLINGS),
    rule=st.sampled_from(["canonical", "append"]),
    lead=st.booleans(),
    scores=st.lists(st.integers(1, 5), min_size=3, max_size=3),
    sharpness=st.sampled_from([1.0, 3.0, 5.0]),
    min_new_tokens=st.sampled_from([0, 4]),
    space_bias=st.sampled_from([0.0, 3.0, 10.0]),
    row_size=st.sampled_from([1, 4, ROW_SIZE]),
    near=st.booleans(),
)
def check_against_reference(
    seen: Counter[str],
    definitions,
    config,
    sampling,
    rule,
    lead,
    scores,
    sharpness,
    min_new_tokens,
    space_bias,
    row_size,
    near,
) -> None:
    if near:  # members that often agree
        definitions = [definitions[0]] * len(definitions)
    names = [f"m{place}" for place in range(len(definitions))]
    shares = dict(zip(names, scores, strict=False))
    weights = {name: score / sum(shares.values()) for name, score in shares.items()}
    fakes = fake_ensemble(
        dict(zip(names, definitions, strict=True)),
        weights=weights,
        rule=rule,
        leading=names if lead else (),
        sharpness=sharpness,
        end_bias=1.0,
        space_bias=space_bias,
        seeds=dict.fromkeys(names, 0) if near else None,
        wobbles={"m1": 0.5} if near else None,
        row_size=row_size,
    )
    request = GenerateRequest(
        request_id="r",
        prompts=prompt_for(fakes, "ab a", lead),
        max_new_tokens=20,
        min_new_tokens=min_new_tokens,
        sampling=sampling,
    )
    oracle = Safe(
        reference_members(fakes, request),
        weights,
        "m0",
        20,
        rule,
        config.max_tokens,
        config.consensus,
        config.extra_gate,
        config.sharpen,
        sampling,
        reference_noise(sampling),
        min_new_tokens,
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


def test_engine_writes_what_the_equations_say() -> None:
    seen: Counter[str] = Counter()
    check_against_reference(seen)
    assert seen["joint"] > 300 and seen["drafted"] > 300 and seen["abstained"] > 3, seen
