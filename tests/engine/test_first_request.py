"""What requests need of the union is there before the first of them."""

import numpy as np

from gac.config import SafeConfig
from gac.core import GenerateRequest, Sampling
from gac.decoding.strategies import StrategyMaker
from tests.support.collect import Running
from tests.support.fakes import byte_level_definition, fake_ensemble, prompt_for


def test_first_request_builds_nothing_of_the_union() -> None:
    """Not even where it merges prefixes and samples."""
    words = byte_level_definition([" the", "he"])
    fakes = fake_ensemble({"m0": words, "m1": words})
    union = fakes.ensemble.union
    before = dict(vars(union))
    assert isinstance(before["prefix_ends"], np.ndarray)
    strategy = SafeConfig(drafter="m0", sharpen="prefix_merge", merge_lambda=0.0)
    sampling = Sampling(temperature=1.0, seed=1)
    request = GenerateRequest("r", prompt_for(fakes, "the"), 8, sampling=sampling)
    with Running(fakes.ensemble, StrategyMaker(strategy)) as running:
        assert running.write([request])[0].tokens
    fakes.close()
    assert vars(union).keys() == before.keys()
    assert all(vars(union)[name] is value for name, value in before.items())
