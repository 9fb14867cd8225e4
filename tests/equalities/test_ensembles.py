"""Ensembles of real models write what the equations say, computed by plain uncached passes.

Whether rows are short, and whether a member drafts, does not matter.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gac.config import EveryStepConfig, ThresholdConfig
from gac.core import GenerateRequest, Sampling
from gac.decoding.strategies import StrategyMaker
from gac.model.listing import ROW_SIZE
from tests.support.collect import Running
from tests.support.examples import examples
from tests.support.fakes import EagerSpeculation
from tests.support.oracle import Oracle, check_text, tokens_of
from tests.support.real_members import DEMO, RANDOM, TRAINED, real_ensemble, real_model

RANDOM_TEXTS = ("the cat", " sat on", "é 日本 12\n\n", "team of the cats, and a 👍")
TRAINED_TEXTS = ("Once upon a time", "What is the capital of France?", "hello, how are you?", "3 +")
SAMPLINGS = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 0.0, 0.7, 1.0, 1.5]),
    top_k=st.sampled_from([0, 0, 5, 40]),
    top_p=st.sampled_from([1.0, 1.0, 0.5, 0.9]),
    min_p=st.sampled_from([0.0, 0.0, 0.1]),
    seed=st.integers(0, 2**64 - 1),
)


def check(
    names,
    text,
    strategy,
    below,
    sampling,
    rule,
    scores,
    templated,
    least,
    most,
    row_size,
    drafter,
    max_tokens,
) -> None:
    """The engine against the reference, on these models; `strategy` is a threshold, or none."""
    models = {name: real_model(name) for name in names}
    shares = dict(zip(names, scores, strict=False))
    weights = {name: share / sum(shares.values()) for name, share in shares.items()}
    config = EveryStepConfig()
    if strategy is not None:
        config = ThresholdConfig(gate=names[0], threshold=strategy, below=below)
    prompts = {name: model.prompt(text, templated) for name, model in models.items()}
    request = GenerateRequest(
        "+".join(names), prompts, most, min_new_tokens=least, sampling=sampling
    )
    drafts = None
    if drafter is not None:
        drafts = EagerSpeculation(names[drafter % len(names)], max_tokens, names)
    with real_ensemble(models, weights=weights, rule=rule, row_size=row_size) as ensemble:
        with Running(ensemble, StrategyMaker(config), None, drafts) as running:
            [written] = running.write([request])
        check_text(written)
        oracle = Oracle(ensemble, models, config)
        oracle.require_same(request, tokens_of(written), oracle.tokens(request))


def cases(pool: tuple[str, ...], texts: tuple[str, ...]) -> dict[str, st.SearchStrategy]:
    return {
        "names": st.lists(st.sampled_from(pool), min_size=2, max_size=3, unique=True),
        "text": st.sampled_from(texts),
        "strategy": st.sampled_from([None, None, 0.0, 0.15, 0.3, 0.5, 0.8, 1.0]),
        "below": st.sampled_from(["ensemble", "replace"]),
        "sampling": SAMPLINGS,
        "rule": st.sampled_from(["canonical", "append"]),
        "scores": st.sampled_from([(1, 1, 1), (3, 1, 2), (1, 5, 4)]),
        "templated": st.booleans(),
        "least": st.sampled_from([0, 0, 40]),
        "most": st.sampled_from([8, 16, 50]),
        "row_size": st.sampled_from([1, 3, ROW_SIZE]),
        "drafter": st.sampled_from([None, 0, 1, 2]),
        "max_tokens": st.integers(1, 6),
    }


@examples(40)
@given(**cases(RANDOM, RANDOM_TEXTS))
def test_random_models_write_what_the_reference_writes(**case) -> None:
    check(**case)


@pytest.mark.skipif(len(DEMO) < 2, reason="fewer than two of the demonstration models are here")
@examples(25)
@given(**cases(DEMO, TRAINED_TEXTS))
def test_demo_models_write_what_the_reference_writes(**case) -> None:
    check(**case)


@pytest.mark.skipif(len(TRAINED) == len(DEMO), reason="the shared models are not on this machine")
@examples(14)
@given(**cases((*TRAINED, "gram", "llama"), TRAINED_TEXTS))
def test_models_of_all_origins_write_what_the_reference_writes(**case) -> None:
    check(**case)
