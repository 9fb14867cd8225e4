"""Three members without weights, requests for them, and what each writes alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from hypothesis import strategies as st

from gac.config import (
    CoreConfig,
    EntropyConfig,
    EveryStepConfig,
    GeometricConfig,
    MinConfig,
    MixtureConfig,
    ReplaceConfig,
    SafeConfig,
    ThresholdConfig,
    UniteConfig,
)
from gac.core import FinishReason, GenerateRequest, Sampling
from gac.decoding.strategies import StrategyMaker
from tests.support.collect import Running, Written
from tests.support.fakes import (
    FakeEnsemble,
    byte_level_definition,
    fake_ensemble,
    prompt_for,
    unigram_definition,
)

DEFINITIONS = {
    "ada": byte_level_definition([" the", " cat", "he", "at", "é"]),
    "bora": unigram_definition([*"abcdefghijklmnopqrstuvwxyz", " the", " cat", "ca", "é"]),
    "cleo": byte_level_definition(["th", " c", "cat", "\n\n"]),
}
EVERY_STEP = EveryStepConfig()
GATED = ThresholdConfig(gate="bora", threshold=0.25)
REPLACED = ThresholdConfig(gate="ada", threshold=0.25, below="replace")
AGGREGATED = [
    EveryStepConfig(aggregation=GeometricConfig()),
    EveryStepConfig(aggregation=MinConfig()),
    EveryStepConfig(aggregation=UniteConfig()),
    EveryStepConfig(aggregation=EntropyConfig()),
    EveryStepConfig(aggregation=ReplaceConfig(by="cleo")),
    ThresholdConfig(gate="bora", threshold=0.25, aggregation=CoreConfig()),
    MixtureConfig(),
]
VERIFIED = [
    SafeConfig(drafter="ada"),
    SafeConfig(drafter="bora", max_tokens=3, extra_gate=0.6, sharpen="prefix_merge"),
    SafeConfig(drafter="cleo", sharpen="geometric", aggregation=UniteConfig()),
]
GUARDED = EveryStepConfig(aggregation=GeometricConfig(), conflict_guard="ada")
"""For greedy requests."""
STRATEGIES = st.sampled_from([EVERY_STEP, GATED, REPLACED, *AGGREGATED, *VERIFIED])
ALL_ENTRIES = 100_000


@dataclass(frozen=True)
class Trio:
    """Three members: their tokenizers, and how much they have in common."""

    definitions: Mapping[str, str]
    seeds: Mapping[str, int] | None = None
    wobbles: Mapping[str, float] = field(default_factory=dict)
    weights: Mapping[str, float] | None = None

    def members(self, **changes: object) -> FakeEnsemble:
        return fake_ensemble(
            self.definitions,
            leading=[name for name in self.definitions if name == "bora"],
            seeds=self.seeds,
            wobbles=self.wobbles,
            **{"end_bias": 3.0, "weights": self.weights, **changes},
        )


SAME_SEED = dict.fromkeys(DEFINITIONS, 5)
TWINS = Trio(dict.fromkeys(DEFINITIONS, DEFINITIONS["bora"]), SAME_SEED)
TRIOS = {
    "unrelated": Trio(DEFINITIONS),
    "twins": TWINS,
    "near twins": replace(TWINS, wobbles={"ada": 0.7, "cleo": 0.4}),
    "one decides": Trio(DEFINITIONS, weights={"ada": 0.05, "bora": 0.05, "cleo": 0.9}),
    "one abstains": Trio(
        {**DEFINITIONS, "ada": byte_level_definition([" the", "cat"], missing=bytes(range(48, 80)))}
    ),
}
SPECS = st.fixed_dictionaries(
    {
        "prompt": st.text("the cat\n", min_size=1, max_size=60),
        "lead": st.booleans(),
        "max_new_tokens": st.integers(1, 24),
        "stop": st.sampled_from([(), ("e",), ("th", "\n"), ("zz",)]),
        "ignore_eos": st.booleans(),
        "sampling": st.builds(
            Sampling, temperature=st.sampled_from([0.0, 1.0]), seed=st.integers(0, 9)
        ),
    }
)
DRAFTED = st.fixed_dictionaries(
    {
        "prompt": st.text("the cat\n", min_size=1, max_size=30),
        "lead": st.booleans(),
        "max_new_tokens": st.integers(1, 24),
        "max_length": st.sampled_from([None, None, 40, 60]),
        "min_new_tokens": st.sampled_from([0, 3, 9]),
        "stop": st.sampled_from([(), (), ("e",), ("th", "\n")]),
        "ignore_eos": st.booleans(),
        "without": st.sampled_from([None, None, None, *DEFINITIONS]),
        "sampling": st.builds(
            Sampling,
            temperature=st.sampled_from([0.0, 0.0, 0.6, 1.0, 1.7]),
            top_k=st.sampled_from([0, 0, 3, 50]),
            top_p=st.sampled_from([1.0, 1.0, 0.7]),
            min_p=st.sampled_from([0.0, 0.0, 0.1]),
            seed=st.integers(0, 9),
        ),
    }
)
LONG = {"prompt": "the cat", "lead": False, "max_new_tokens": 24, "ignore_eos": True}


def members(**changes: object) -> FakeEnsemble:
    return TRIOS["unrelated"].members(**changes)


def request_of(fakes: FakeEnsemble, spec: dict, request_id: str) -> GenerateRequest:
    rest = {k: value for k, value in spec.items() if k not in ("prompt", "lead", "without")}
    prompts = prompt_for(fakes, spec["prompt"], spec["lead"])
    prompts.pop(spec.get("without"), None)
    return GenerateRequest(request_id=request_id, prompts=prompts, **rest)


def alone(spec: dict, strategy, trio: Trio = TRIOS["unrelated"], **changes: object) -> Written:
    fakes = trio.members(row_size=ALL_ENTRIES, **changes)
    with Running(fakes.ensemble, StrategyMaker(strategy)) as running:
        [written] = running.write([request_of(fakes, spec, "alone")])
    fakes.close()
    return written


def said(written: Written) -> tuple[list[bytes], str, FinishReason]:
    return written.token_bytes, written.text, written.finish.reason
