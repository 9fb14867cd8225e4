"""One request to a drawn ensemble, written with what is to be told of its tokens, or nothing."""

from typing import Any

from gac.config import ArithmeticConfig, EveryStepConfig, MixtureConfig
from gac.core import GenerateRequest, Sampling
from gac.decoding.strategies import StrategyMaker
from tests.support.collect import Running, Written
from tests.support.drawn import drawn_ensemble, speculate
from tests.support.fakes import FakeEnsemble, prompt_for
from tests.support.methods import joined

NUM_TOKENS = 14
"""Of a text that nothing ends before."""
PLAIN_CASE: dict[str, Any] = {
    "aggregation": ArithmeticConfig(),
    "guard": False,
    "sampling": Sampling(),
    "scores": [1, 2, 1],
    "sharpness": 3.0,
    "min_new_tokens": 4,
    "row_size": 8,
    "lead": False,
    "near": True,
    "drafter": None,
}
"""Of a case's values, those that examples seldom change."""


class DrawnCase:
    """A strategy and an ensemble; `made` are the ensemble's and the request's other values."""

    def __init__(self, definitions, strategy, aggregation, guard, sampling, **made) -> None:
        if len(definitions) < 2:
            strategy, aggregation, guard = EveryStepConfig(), ArithmeticConfig(), False
        if isinstance(strategy, MixtureConfig):
            sampling = Sampling(1.0, seed=sampling.seed)
        self.strategy = joined(strategy, aggregation, guard, sampling.temperature == 0.0)
        self.sampling, self.definitions, self.made = sampling, definitions, made

    def ensemble(self) -> FakeEnsemble:
        """A new ensemble; all of a case compute the same."""
        return drawn_ensemble(
            self.definitions,
            self.made["scores"],
            self.made["lead"],
            self.made["near"],
            wobble=1.0,
            sharpness=self.made["sharpness"],
            row_size=self.made["row_size"],
        )

    def request(self, fakes: FakeEnsemble, **told: Any) -> GenerateRequest:
        """The request; `told` are `trace` and `logprobs`."""
        return GenerateRequest(
            request_id="r",
            prompts=prompt_for(fakes, "ab a", self.made["lead"]),
            max_new_tokens=NUM_TOKENS,
            min_new_tokens=self.made["min_new_tokens"],
            sampling=self.sampling,
            stop=self.made.get("stop", ()),
            **told,
        )

    def write(self, **told: Any) -> Written:
        """What an ensemble of its own writes."""
        fakes = self.ensemble()
        speculation = speculate(self.made["drafter"], list(fakes.runners))
        with Running(fakes.ensemble, StrategyMaker(self.strategy), None, speculation) as running:
            [written] = running.write([self.request(fakes, **told)])
        fakes.close()
        return written


def told_nothing(written: Written) -> object:
    """All of a text but what was told of its tokens."""
    ends = (written.finish.reason, written.finish.ensembled_tokens, written.text)
    return [(event.pick, event.asked, event.token_bytes) for event in written.tokens], ends
