"""What SAFE costs next to every step where tokens are drawn from complete rows.

At temperature 1, without a cut, a token is drawn from all entries of a distribution: rows are as
long as the union, and whoever lists, sorts or sends them once too often pays for it.
"""

from collections.abc import Callable
from dataclasses import replace

from benchmarks.rounds import alternate, medians
from benchmarks.running import Running
from gac.config import EveryStepConfig, SafeConfig, StrategyConfig
from gac.core import Sampling

CUTS = {"nothing let through": 1.0, "everything let through": 0.0}
"""By what becomes of drafts: the consensus cut that sees to it."""


def measure_sampled(running: Running, rounds: int, num_tokens: int) -> dict[str, float]:
    """Milliseconds a token by SAFE over those by every step, both sampled at temperature 1."""
    strategies: dict[str, StrategyConfig] = {"every step": EveryStepConfig()}
    drafter = running.lineup.gate
    strategies |= {what: SafeConfig(drafter=drafter, consensus=cut) for what, cut in CUTS.items()}
    measures = {what: _measure(running, one, num_tokens) for what, one in strategies.items()}
    found = medians(alternate(measures, rounds))
    return {
        f"{running.lineup.name}: SAFE, {what} / every step, sampled": found[what]
        / found["every step"]
        for what in CUTS
    }


def _measure(running: Running, strategy: StrategyConfig, num_tokens: int) -> Callable[[int], float]:
    def measure(place: int) -> float:
        running.use(strategy)
        [request] = running.requests(700 + place, 1, num_tokens)
        sampled = replace(request, sampling=Sampling(temperature=1.0, seed=place))
        return running.write([sampled]).ms_per_token

    return measure
