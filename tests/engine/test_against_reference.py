"""The engine writes what the equations say: every strategy, rule and sampling, on fakes."""

import hashlib

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gac.config import (
    AggregationConfig,
    ArithmeticConfig,
    CoreConfig,
    EntropyConfig,
    EveryStepConfig,
    GeometricConfig,
    MinConfig,
    MixtureConfig,
    ReplaceConfig,
    ThresholdConfig,
    UniteConfig,
)
from gac.core import FinishReason, GenerateRequest, Sampling
from gac.decoding.mixture import MemberDraw
from gac.decoding.sampling import gumbel_noise
from gac.decoding.strategies import StrategyMaker
from gac.engine.speculation import Speculation
from gac.model.listing import ROW_SIZE
from tests import reference
from tests import reference_aggregations as aggregations
from tests.collect import Running
from tests.fakes import (
    EagerSpeculation,
    FakeEnsemble,
    byte_level_definition,
    fake_ensemble,
    prompt_for,
    unigram_definition,
)

ALPHABET = "ab é\n\u2581" + "👍"
WORDS = st.lists(st.text(ALPHABET, min_size=2, max_size=4), min_size=2, max_size=12, unique=True)
DEFINITIONS = st.one_of(
    WORDS.map(byte_level_definition),
    WORDS.map(lambda words: unigram_definition([*"ab é\n", *words])),
    st.just(byte_level_definition([" a", "ba"], missing=bytes(range(128, 256)) + b"xyz#!")),
)
"""The last one abstains once others write what it cannot spell."""
SAMPLINGS = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 0.0, 0.5, 1.0, 1.7]),
    top_k=st.sampled_from([0, 0, 1, 5, 40, 270]),
    top_p=st.sampled_from([1.0, 1.0, 0.3, 0.9]),
    min_p=st.sampled_from([0.0, 0.0, 0.1]),
    seed=st.integers(0, 2**64 - 1),
)
METHODS: dict[str, tuple[AggregationConfig, reference.Aggregate]] = {
    "arithmetic": (ArithmeticConfig(), reference.arithmetic),
    "geometric": (GeometricConfig(), aggregations.geometric),
    "min": (MinConfig(), aggregations.minimum),
    "unite": (UniteConfig(), aggregations.unite(10)),
    "unite, 2": (UniteConfig(top_k=2), aggregations.unite(2)),
    "entropy": (EntropyConfig(), aggregations.entropy),
    "core": (CoreConfig(), aggregations.core()),
    "replace": (ReplaceConfig(by="m1"), aggregations.replace("m1")),
}
GATES = st.builds(
    ThresholdConfig,
    name=st.just("threshold"),
    gate=st.just("m0"),
    threshold=st.sampled_from([0.0, 0.1, 0.3, 0.6, 1.0]),
    below=st.sampled_from(["ensemble", "replace"]),
)
STRATEGIES = st.one_of(st.just(EveryStepConfig()), st.just(MixtureConfig()), GATES, GATES)
GUARDS = st.sampled_from([False, False, True, "m1"])


def drawn_ensemble(
    definitions, scores, lead: bool, near: bool, wobble: float = 0.0, **changes
) -> FakeEnsemble:
    """Members m0, m1, ... weighted by score.

    If `near` they have one tokenizer and one mind, from which m1 is off by its `wobble`.
    """
    if near:
        definitions = [definitions[0]] * len(definitions)
    names = [f"m{place}" for place in range(len(definitions))]
    shares = dict(zip(names, scores, strict=False))
    return fake_ensemble(
        dict(zip(names, definitions, strict=True)),
        weights={name: score / sum(shares.values()) for name, score in shares.items()},
        leading=names if lead else (),
        seeds=dict.fromkeys(names, 0) if near else None,
        wobbles={"m1": wobble} if near else None,
        end_bias=1.0,
        **changes,
    )


def anchor_of(strategy, weights: dict[str, float]) -> str:
    """Who keeps its own winner where the guard is on."""
    if isinstance(strategy.conflict_guard, str):
        return strategy.conflict_guard
    if isinstance(strategy, ThresholdConfig):
        return strategy.gate
    return min(weights, key=lambda name: (-weights[name], name))


def reference_model(fakes: FakeEnsemble, name: str) -> reference.Model:
    def model(ids: list[int]) -> list[float]:
        probs = fakes.runners[name].logits(ids).to(torch.float64).softmax(0)
        return list(map(float, probs))

    return model


def reference_members(fakes: FakeEnsemble, request: GenerateRequest) -> dict[str, reference.Member]:
    return {
        name: reference.Member(
            reference_model(fakes, name), fakes.ensemble.vocabularies[name], p.ids, p.lead
        )
        for name, p in request.prompts.items()
    }


def reference_noise(sampling: Sampling):
    def noise(position: int, token: bytes) -> float:
        digest = hashlib.blake2b(token, digest_size=8).digest()
        return float(gumbel_noise(sampling, position, np.frombuffer(digest, dtype="<u8"))[0])

    return noise


def speculate(drafter: str | None, names: list[str]) -> Speculation | None:
    return None if drafter is None else EagerSpeculation(drafter, 5, names)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    definitions=st.lists(DEFINITIONS, min_size=1, max_size=3),
    strategy=STRATEGIES,
    method=st.sampled_from(list(METHODS)),
    guard=GUARDS,
    sampling=SAMPLINGS,
    rule=st.sampled_from(["canonical", "append"]),
    lead=st.booleans(),
    scores=st.lists(st.integers(1, 5), min_size=3, max_size=3),
    sharpness=st.sampled_from([1.0, 3.0]),
    min_new_tokens=st.sampled_from([0, 4]),
    space_bias=st.sampled_from([0.0, 10.0]),
    row_size=st.sampled_from([1, 4, ROW_SIZE]),
    drafter=st.sampled_from([None, "m0", "m1"]),
    twins=st.booleans(),
)
def test_engine_writes_what_the_reference_writes(
    definitions,
    strategy,
    method,
    guard,
    sampling,
    rule,
    lead,
    scores,
    sharpness,
    min_new_tokens,
    space_bias,
    row_size,
    drafter,
    twins,
) -> None:
    """Rows may be short and tokens drafted by a member, whose twin agrees with it: no matter."""
    fakes = drawn_ensemble(
        definitions,
        scores,
        lead,
        twins,
        rule=rule,
        sharpness=sharpness,
        space_bias=space_bias,
        row_size=row_size,
    )
    names, weights = list(fakes.runners), fakes.ensemble.weights
    request = GenerateRequest(
        request_id="r",
        prompts=prompt_for(fakes, "ab a", lead),
        max_new_tokens=12,
        min_new_tokens=min_new_tokens,
        sampling=sampling,
    )
    gated = isinstance(strategy, ThresholdConfig) and len(names) > 1
    is_mixture = isinstance(strategy, MixtureConfig)
    configured, aggregate = METHODS["arithmetic" if is_mixture else method]
    if configured.name == "core" and gated:
        aggregate = aggregations.core("m0")
    anchor = draw = None
    if not is_mixture:
        guard = guard if sampling.temperature == 0.0 else False
        update = {"aggregation": configured, "conflict_guard": guard}
        strategy = strategy.model_copy(update=update)
        anchor = anchor_of(strategy, weights) if guard else None
    elif len(names) > 1:
        draw = MemberDraw(tuple(names), weights, sampling).order
    tokens, ended = reference.generate(
        reference_members(fakes, request),
        weights,
        max_new_tokens=12,
        rule=rule,
        gate="m0" if gated else None,
        threshold=strategy.threshold if gated else 1.0,
        below=strategy.below if gated else "ensemble",
        sampling=sampling,
        noise=reference_noise(sampling),
        min_new_tokens=min_new_tokens,
        aggregate=aggregate,
        anchor=anchor,
        draw=draw,
    )
    speculation = speculate(drafter, names)
    with Running(fakes.ensemble, StrategyMaker(strategy), None, speculation) as running:
        [written] = running.write([request])
    fakes.close()
    assert written.token_bytes == tokens
    assert written.finish.reason is (FinishReason.STOP if ended else FinishReason.LENGTH)
    assert written.text == b"".join(tokens).decode(errors="replace")
