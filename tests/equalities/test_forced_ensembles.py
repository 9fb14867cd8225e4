"""Scoring by an ensemble: the reference's probabilities of given tokens, in a few passes."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from gac.config import EveryStepConfig, SafeConfig, StrategyConfig, ThresholdConfig
from gac.core import Extend, Forced
from gac.decoding.strategies import StrategyMaker
from gac.engine.ensemble import Ensemble
from tests.support.collect import Running
from tests.support.forcing import scoring, tokenizer_of
from tests.support.oracle import TIE, Oracle
from tests.support.real_members import real_ensemble, real_model

EVERY_STEP = EveryStepConfig()
PAIRS = (("llama", "gram"), ("gram", "qwen2"), ("gram", "gram-sliding"))
TEXTS = ("the cat sat, é", " at the mat", "日 he")
STORY = (
    "Once upon a time there was a little cat. The cat sat on the mat and looked at the big red "
    "ball. What is the capital of France? The answer to 12 + 7 is 19.\nShe wanted to play with it. "
) * 4


@pytest.mark.parametrize("rule", ["canonical", "append"])
@pytest.mark.parametrize("names", PAIRS, ids="+".join)
def test_scores_are_those_of_the_reference(names: tuple[str, str], rule: Any) -> None:
    """Owners are those that decoding has, as the reference knows no others."""
    models = {name: real_model(name) for name in names}
    tokenizers = {name: tokenizer_of(model) for name, model in models.items()}
    for strategy in (EVERY_STEP, ThresholdConfig(gate=names[1], threshold=0.3)):
        with real_ensemble(models, rule=rule) as ensemble:
            oracle = Oracle(ensemble, models, strategy)
            for text in TEXTS:
                [stop, *_] = sorted(models[names[0]].vocabulary.stop_ids)
                ids = (stop, *models[names[0]].prompts.encode_text(text))
                request = scoring(ensemble, tokenizers, ids, names[0])
                request = replace(request, forced=Forced(request.forced.tokens))
                with Running(ensemble, StrategyMaker(strategy)) as running:
                    [written] = running.write([request])
                tokens = [ensemble.union.tokens[token] for token in request.forced.tokens]
                assert len(tokens) == len(ids) - 1
                plain = replace(request, max_new_tokens=len(tokens) + 1, forced=Forced())
                for place, event in enumerate(written.tokens[: len(tokens)]):
                    expected = oracle.scores(plain, tokens[:place])
                    assert event.likelihood is not None
                    [top] = event.likelihood.top
                    found = event.likelihood.probability
                    assert found == pytest.approx(expected.get(tokens[place], 0.0), abs=TIE)
                    assert top.probability == pytest.approx(max(expected.values()), abs=TIE)


def test_first_token_is_one_whether_it_is_read_with_a_dummy_space_or_not() -> None:
    """`gram` reads a dummy space, `llama` none: to both the text begins with `the`."""
    models = {name: real_model(name) for name in ("gram", "llama")}
    tokenizers = {name: tokenizer_of(model) for name, model in models.items()}
    with real_ensemble(models) as ensemble:
        spelled = {}
        for reference, model in models.items():
            [stop, *_] = sorted(model.vocabulary.stop_ids)
            ids = (stop, *model.prompts.encode_text("the cat"))
            request = scoring(ensemble, tokenizers, ids, reference)
            assert {name: prompt.lead for name, prompt in request.prompts.items()} == {
                "gram": True,
                "llama": False,
            }
            with Running(ensemble, StrategyMaker(EVERY_STEP)) as running:
                [written] = running.write([request])
            spelled[reference] = b"".join(written.token_bytes[: len(ids) - 1])
            sizes = {
                name: len(tokenizers[name].prompts.encode_text("the cat")) + 1 for name in models
            }
            assert written.finish.prompt_tokens[reference] == sizes[reference]
    assert spelled == {"gram": b"the cat", "llama": b"the cat"}


@contextmanager
def counted(ensemble: Ensemble) -> Iterator[dict[str, int]]:
    """Counts the forward passes of every member."""
    passes = dict.fromkeys(ensemble.members, 0)

    def extend(name: str, plain: Any, batch: Sequence[Extend]) -> Any:
        passes[name] += any(item.tail for item in batch)
        return plain(batch)

    for name, member in ensemble.members.items():
        runner = member._host._runner  # type: ignore[attr-defined]
        runner.extend = partial(extend, name, runner.extend)
    yield passes


@pytest.mark.parametrize("rule", ["canonical", "append"])
@pytest.mark.parametrize(
    "strategy",
    [EVERY_STEP, ThresholdConfig(gate="bora", threshold=0.6), SafeConfig(drafter="ada")],
    ids=lambda one: one.name,
)
def test_known_text_takes_few_passes(strategy: StrategyConfig, rule: Any) -> None:
    """At 64 ids a pass; more where a word is tokenised anew, seldom under `append`."""
    models = {name: real_model(name) for name in ("ada", "bora")}
    reference = strategy.leader or "ada"
    tokenizers = {name: tokenizer_of(model) for name, model in models.items()}
    ids = tuple(models[reference].prompts.encode_text(STORY))[:200]
    with real_ensemble(models, rule=rule) as ensemble, counted(ensemble) as passes:
        request = scoring(ensemble, tokenizers, ids, reference)
        with Running(ensemble, StrategyMaker(strategy)) as running:
            [written] = running.write([request])
    assert len(ids) == 200
    logs = [one.likelihood.probability for one in written.tokens[:199] if one.likelihood]
    assert len(logs) == 199 and math.fsum(map(math.log, logs)) < 0.0
    assert max(passes.values()) <= (30 if rule == "canonical" else 15), passes
    assert passes[reference] <= 10, passes
