"""Prints what a few ensembles write, as JSON: run under several PYTHONHASHSEEDs by a test."""

import json

from gac.config import (
    CoreConfig,
    EntropyConfig,
    EveryStepConfig,
    GeometricConfig,
    MinConfig,
    MixtureConfig,
    ReplaceConfig,
    SafeConfig,
    StrategyConfig,
    ThresholdConfig,
    UniteConfig,
)
from gac.core import GenerateRequest, Sampling
from gac.decoding.strategies import StrategyMaker
from tests.support.collect import Running
from tests.support.real_members import DEMO, real_ensemble, real_model

TEXTS = ("What is the capital of France?", "the cat sat", "é 日本\n\n12 👍")


def strategies(names: tuple[str, ...]) -> list[StrategyConfig]:
    """Every strategy and aggregation."""
    return [
        EveryStepConfig(),
        ThresholdConfig(gate=names[0], threshold=0.5),
        SafeConfig(drafter=names[0], sharpen="prefix_merge"),
        MixtureConfig(),
        EveryStepConfig(aggregation=GeometricConfig()),
        EveryStepConfig(aggregation=MinConfig()),
        EveryStepConfig(aggregation=UniteConfig()),
        EveryStepConfig(aggregation=CoreConfig()),
        EveryStepConfig(aggregation=EntropyConfig()),
        EveryStepConfig(aggregation=ReplaceConfig(by=names[1])),
    ]


def seed_texts() -> list[str]:
    """The union's fingerprint and the texts of every ensemble."""
    given: list[str] = []
    for names in (DEMO, ("gram", "llama", "gram-sliding")):
        if not names:
            continue
        models = {name: real_model(name) for name in names}
        with real_ensemble(models) as ensemble:
            given.append(ensemble.union.fingerprint)
            with Running(ensemble, StrategyMaker(EveryStepConfig())) as running:
                for config in strategies(names):
                    for place, text in enumerate(TEXTS):
                        request = GenerateRequest(
                            f"{config}-{place}",
                            {
                                name: model.prompt(text, place == 0)
                                for name, model in models.items()
                            },
                            20,
                            sampling=Sampling(
                                temperature=0.9 * (place > 0), top_p=0.95, seed=place
                            ),
                            strategy=config,
                        )
                        given += [one.text for one in running.write([request])]
    return given


if __name__ == "__main__":
    print(json.dumps(seed_texts()))
