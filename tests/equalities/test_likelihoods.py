"""Likelihoods and penalties on the demonstration models, by plain passes of the models."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from gac.config import (
    EveryStepConfig,
    GeometricConfig,
    SafeConfig,
    StrategyConfig,
    ThresholdConfig,
    UniteConfig,
)
from gac.core import GenerateRequest, Penalties
from gac.decoding.strategies import StrategyMaker
from gac.engine.ensemble import Ensemble
from gac.trace import Outcome
from tests.support import reference
from tests.support.collect import Running, Written
from tests.support.real_members import DEMO, real_ensemble, real_model

NAMES = ("ada", "bora")
pytestmark = pytest.mark.skipif(
    not set(NAMES) <= set(DEMO), reason="two of the demonstration models are not here"
)
CLOSE = 2e-5
"""What a probability of two float32 passes of other shapes may differ by."""
STRATEGIES: list[StrategyConfig] = [
    EveryStepConfig(),
    EveryStepConfig(aggregation=GeometricConfig()),
    EveryStepConfig(aggregation=UniteConfig()),
    ThresholdConfig(gate=NAMES[0], threshold=0.6),
    SafeConfig(drafter=NAMES[0]),
    SafeConfig(drafter=NAMES[1], consensus=0.9, sharpen="prefix_merge"),
]
PROMPTS = ("What is the capital of Norway?", "Once upon a time")


@pytest.fixture(scope="module")
def ensemble() -> Iterator[Ensemble]:
    with real_ensemble([real_model(name) for name in NAMES]) as ensemble:
        yield ensemble


def write(ensemble: Ensemble, strategy: StrategyConfig, **asked: object) -> list[Written]:
    requests = [
        GenerateRequest(
            f"{place}",
            {name: real_model(name).prompt(text, templated=True) for name in NAMES},
            max_new_tokens=16,
        )
        for place, text in enumerate(PROMPTS)
    ]
    with Running(ensemble, StrategyMaker(strategy)) as running:
        return running.write([replace(request, **asked) for request in requests])


@pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)
def test_greedy_pick_is_the_most_probable_and_its_text_the_same(ensemble, strategy) -> None:
    for told, untold in zip(
        write(ensemble, strategy, logprobs=5), write(ensemble, strategy), strict=True
    ):
        assert told.text == untold.text
        assert [e.pick for e in told.tokens] == [e.pick for e in untold.tokens]
        ended = [(b"", told.finish.likelihood)] if told.finish.asked else []
        for token, likelihood in [(e.token_bytes, e.likelihood) for e in told.tokens] + ended:
            assert likelihood is not None
            best = likelihood.top[0]
            assert (best.token, best.probability) == (token, likelihood.probability)
            probabilities = [one.probability for one in likelihood.top]
            assert probabilities == sorted(probabilities, reverse=True)
            assert sum(probabilities) <= 1.0 + CLOSE
        assert told.finish.num_shown == len(told.tokens)


@pytest.mark.parametrize("strategy", [STRATEGIES[n] for n in (0, 3, 4)], ids=repr)
def test_probabilities_are_those_of_plain_passes(ensemble, strategy) -> None:
    for place, written in enumerate(write(ensemble, strategy, logprobs=0, trace=1)):
        members = {
            name: reference.Member(
                real_model(name).probabilities, real_model(name).vocabulary, prompt.ids, prompt.lead
            )
            for name in NAMES
            for prompt in (real_model(name).prompt(PROMPTS[place], templated=True),)
        }
        text: list[bytes] = []
        for event in written.tokens:
            assert event.trace is not None and event.likelihood is not None
            heard = [one.member for one in event.trace.members]
            if event.trace.outcome is Outcome.DRAFTED:
                heard = [NAMES[0]]
            rows = {name: members[name].distribution(b"".join(text)) for name in heard}
            mean, _ = reference.arithmetic(rows, reference.shares_of(rows, ensemble.weights))
            expected = mean[event.token_bytes]
            assert event.likelihood.probability == pytest.approx(expected, abs=CLOSE)
            for name, member in members.items():
                owned = name in event.pick.owners
                member.follow(b"".join(text), event.token_bytes, owned, ensemble.rule)
            text.append(event.token_bytes)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)
def test_banned_first_token_is_not_written(ensemble, strategy) -> None:
    plain = write(ensemble, strategy)[0].tokens[0]
    ban = Penalties(bias={plain.pick.token: -100.0})
    for written in write(ensemble, strategy, penalties=ban):
        assert plain.pick.token not in [event.pick.token for event in written.tokens]
