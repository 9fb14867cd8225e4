"""Prints what a few ensembles write, as JSON: run under several PYTHONHASHSEEDs by a test."""

import json

from gac.config import EveryStepConfig, ThresholdConfig
from gac.core import GenerateRequest, Sampling
from gac.decoding.strategies import strategy_maker
from tests.collect import Running
from tests.real_members import DEMO, real_ensemble, real_model

TEXTS = ("What is the capital of France?", "the cat sat", "é 日本\n\n12 👍")


def seed_texts() -> list[str]:
    """The union's fingerprint and the texts of every ensemble."""
    given: list[str] = []
    for names in (DEMO, ("gram", "llama", "gram-sliding")):
        if not names:
            continue
        models = {name: real_model(name) for name in names}
        for config in (EveryStepConfig(), ThresholdConfig(gate=names[0], threshold=0.5)):
            requests = [
                GenerateRequest(
                    str(place),
                    {name: model.prompt(text, place == 0) for name, model in models.items()},
                    20,
                    sampling=Sampling(temperature=0.9 * (place > 0), top_p=0.95, seed=place),
                )
                for place, text in enumerate(TEXTS)
            ]
            with real_ensemble(models) as ensemble:
                with Running(ensemble, strategy_maker(config)) as running:
                    written = [running.write([request])[0] for request in requests]
                given += [ensemble.union.fingerprint, *(one.text for one in written)]
    return given


if __name__ == "__main__":
    print(json.dumps(seed_texts()))
