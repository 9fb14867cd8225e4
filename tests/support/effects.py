"""For every parameter two values that give different output, and a request that shows it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gac.config import (
    EveryStepConfig,
    GeometricConfig,
    ReplaceConfig,
    SafeConfig,
    StrategyConfig,
    ThresholdConfig,
    UniteConfig,
)
from gac.core import Sampling
from gac.decoding.strategies import StrategyMaker
from tests.support.collect import Running, Written
from tests.support.fakes import FakeEnsemble
from tests.support.trios import LONG, members, request_of

GREEDY = Sampling()
SAMPLED = Sampling(temperature=1.0, seed=1)


def tokens(written: Written, fakes: FakeEnsemble) -> object:
    return written.token_bytes


def is_verified_in_drafts(written: Written, fakes: FakeEnsemble) -> object:
    """Whether a verifier is asked less than once for two tokens."""
    asked = [item for [item] in fakes.runners["bora"].calls if item.positions]
    return len(asked) < len(written.tokens) / 2


@dataclass(frozen=True)
class Effect:
    """Two configurations that differ in one parameter; what is to differ is what `seen` gives.

    `alike` makes all members fond of tokens that begin with a space, and so with one another.
    """

    first: StrategyConfig
    second: StrategyConfig
    sampling: Sampling = GREEDY
    alike: float = 0.0
    seen: Callable[[Written, FakeEnsemble], object] = tokens

    def outputs(self) -> tuple[object, object]:
        return self._output(self.first), self._output(self.second)

    def _output(self, strategy: StrategyConfig) -> object:
        fakes = members()
        for name, runner in fakes.runners.items():
            known = fakes.ensemble.vocabularies[name].canonical
            fond = [token_id for token, token_id in known.items() if token.startswith(b" ")]
            runner.biases = {**runner.biases, **dict.fromkeys(fond, self.alike)}
        with Running(fakes.ensemble, StrategyMaker(strategy)) as running:
            [written] = running.write([request_of(fakes, {**LONG, "sampling": self.sampling}, "r")])
        fakes.close()
        return self.seen(written, fakes)


def _of(declared: Any, **fixed: Any) -> Callable[..., tuple[Any, Any]]:
    """Makes two configurations of one kind: `_of(kind, fixed=...)(parameter=(first, second))`."""

    def pair(**varied: tuple[Any, Any]) -> tuple[Any, Any]:
        first, second = ({key: values[n] for key, values in varied.items()} for n in (0, 1))
        return declared(**fixed, **first), declared(**fixed, **second)

    return pair


def _united(top_k: int) -> EveryStepConfig:
    return EveryStepConfig(aggregation=UniteConfig(top_k=top_k))


def _replaced(by: str) -> EveryStepConfig:
    return EveryStepConfig(aggregation=ReplaceConfig(by=by))


_GATE = _of(ThresholdConfig, gate="bora", threshold=0.9)
_SAFE = _of(SafeConfig, drafter="ada")
_STRICT = _of(SafeConfig, drafter="ada", consensus=1.0)
_MERGED = _of(SafeConfig, drafter="ada", sharpen="prefix_merge")
_MEANS = (EveryStepConfig().aggregation, GeometricConfig())

EFFECTS: dict[tuple[str, str], Effect] = {
    ("every_step", "aggregation"): Effect(*_of(EveryStepConfig)(aggregation=_MEANS)),
    ("every_step", "conflict_guard"): Effect(
        *_of(EveryStepConfig)(conflict_guard=(False, "ada")), alike=8.0
    ),
    ("threshold", "aggregation"): Effect(*_GATE(aggregation=_MEANS)),
    ("threshold", "conflict_guard"): Effect(*_GATE(conflict_guard=(False, "ada")), alike=8.0),
    ("threshold", "gate"): Effect(*_of(ThresholdConfig, threshold=0.2)(gate=("bora", "ada"))),
    ("threshold", "threshold"): Effect(*_of(ThresholdConfig, gate="bora")(threshold=(0.1, 0.9))),
    ("threshold", "below"): Effect(*_GATE(below=("ensemble", "replace")), sampling=SAMPLED),
    ("safe", "aggregation"): Effect(*_STRICT(aggregation=_MEANS)),
    ("safe", "conflict_guard"): Effect(*_STRICT(conflict_guard=(False, "bora")), alike=8.0),
    ("safe", "drafter"): Effect(*_of(SafeConfig, consensus=0.0)(drafter=("ada", "cleo"))),
    ("safe", "max_tokens"): Effect(
        *_of(SafeConfig, drafter="ada", consensus=0.0)(max_tokens=(1, 8)),
        seen=is_verified_in_drafts,
    ),
    ("safe", "consensus"): Effect(*_SAFE(consensus=(0.0, 0.5))),
    ("safe", "extra_gate"): Effect(*_SAFE(extra_gate=(0.1, 1.0))),
    ("safe", "sharpen"): Effect(*_SAFE(sharpen=("none", "geometric"))),
    ("safe", "merge_lambda"): Effect(*_MERGED(merge_lambda=(0.0, 0.5)), sampling=SAMPLED),
    ("unite", "top_k"): Effect(_united(1), _united(3), sampling=SAMPLED),
    ("replace", "by"): Effect(_replaced("ada"), _replaced("cleo")),
}
ONE_VALUE = {("mixture", "aggregation")}
"""What has but one value, and is there so that a request which says it is not wrong."""
