"""What the ensemble costs next to its members' own `generate`, each as a ratio in one run.

Members are Ray actors with one torch thread each, lengths are forced, decoding is greedy.  Rounds
of generate and of the server alternate; ratios are of medians.  The last line is JSON.
"""

import argparse
import json
import logging
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from benchmarks.random_models import SHAPES, make_random_llama
from gac.config import Config, EngineConfig, EveryStepConfig, MemberConfig, ThresholdConfig
from gac.core import GenerateRequest, Prompt
from gac.decoding.strategies import strategy_maker
from gac.engine.engine import Engine
from gac.engine.prompts import build_prompts
from gac.engine.service import Service
from gac.engine.writer import write

NUM_CONCURRENT = 16
THRESHOLD = 0.5
TEXT = "the cat sat on the mat and the dog ran to the park " * 3
STORY = "Please tell me a story about a dog."
"""What the demo members are asked: something they were taught, so that a gate is mostly sure."""


@dataclass
class Pair:
    """Two members, the first of them the gate, and what they are asked to write on."""

    name: str
    paths: dict[str, Path]
    prompt: str
    templated: bool


@dataclass
class Figures:
    """Milliseconds per token, one entry a round, and what was ensembled."""

    generate: dict[str, list[float]] = field(default_factory=dict)
    every_step: list[float] = field(default_factory=list)
    threshold: list[float] = field(default_factory=list)
    many_over_one: list[float] = field(default_factory=list)
    ensembled_share: float = 0.0


class Bench:
    """One running ensemble, and its members' models in this process to compare with."""

    def __init__(self, pair: Pair, num_tokens: int) -> None:
        self.pair = pair
        self.num_tokens = num_tokens
        members = tuple(MemberConfig(path=str(p), name=n) for n, p in pair.paths.items())
        self.service = Service(Config(members=members, engine=EngineConfig()))
        self.models = {
            name: AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
            for name, path in pair.paths.items()
        }

    def __enter__(self) -> "Bench":
        self.service.start()
        self.service.wait()
        if self.service.error is not None:
            raise self.service.error
        gate = next(iter(self.pair.paths))
        self._strategies = {
            "every_step": strategy_maker(EveryStepConfig()),
            "threshold": strategy_maker(ThresholdConfig(gate=gate, threshold=THRESHOLD)),
        }
        self._current = self._strategies["every_step"]
        self.engine = Engine(self.service.engine.ensemble, lambda *given: self._current(*given))
        self.engine.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.engine.stop()
        self.service.stop()

    def generate(self, name: str) -> float:
        """Milliseconds per token of Hugging Face `generate` of one member."""
        ids = torch.tensor([self._prompts()[name].ids])
        started = time.perf_counter()
        with torch.inference_mode():
            output = self.models[name].generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                min_new_tokens=self.num_tokens,
                max_new_tokens=self.num_tokens,
                pad_token_id=0,
            )
        assert output.shape[1] == ids.shape[1] + self.num_tokens
        return (time.perf_counter() - started) * 1000 / self.num_tokens

    def write(self, strategy: str, count: int) -> tuple[float, float]:
        """Milliseconds per token of `count` requests at once, and the share ensembled."""
        self._current = self._strategies[strategy]
        requests = [
            GenerateRequest(str(n), self._prompts(), self.num_tokens, ignore_eos=True)
            for n in range(count)
        ]
        started = time.perf_counter()
        ends = [text.finish for text in write(self.engine, requests)]
        elapsed = (time.perf_counter() - started) * 1000
        num_tokens = sum(end.completion_tokens for end in ends)
        assert num_tokens == count * self.num_tokens
        return elapsed / num_tokens, sum(end.ensembled_tokens for end in ends) / num_tokens

    def _prompts(self) -> dict[str, Prompt]:
        tokenizers = self.service.started.tokenizers
        messages = [{"role": "user", "content": self.pair.prompt}]
        return build_prompts(tokenizers, messages, self.pair.templated)


def measure(pair: Pair, rounds: int, num_tokens: int) -> Figures:
    """Alternate generate and the server, after one round that is not counted."""
    figures = Figures(generate={name: [] for name in pair.paths})
    with Bench(pair, num_tokens) as bench:
        for place in range(rounds + 1):
            own = {name: bench.generate(name) for name in pair.paths}
            together, _ = bench.write("every_step", 1)
            gated, share = bench.write("threshold", 1)
            many, _ = bench.write("every_step", NUM_CONCURRENT)
            if place == 0:
                continue
            for name, value in own.items():
                figures.generate[name].append(value)
            figures.every_step.append(together)
            figures.threshold.append(gated)
            figures.many_over_one.append(together / many)
            figures.ensembled_share = share
    return figures


def ratios(pair: Pair, figures: Figures) -> dict[str, float]:
    """The three figures of a pair, from medians; the first member is the gate."""
    median = statistics.median
    alone = {name: median(values) for name, values in figures.generate.items()}
    gate = next(iter(pair.paths))
    return {
        "every_step_over_slowest_generate": median(figures.every_step) / max(alone.values()),
        "threshold_over_gate_generate": median(figures.threshold) / alone[gate],
        "sixteen_over_one_tokens_per_s": median(figures.many_over_one),
        "ensembled_share_at_threshold": figures.ensembled_share,
    }


def show(pair: Pair, figures: Figures) -> None:
    """A table for people."""
    print(f"\n{pair.name}")
    for name, values in figures.generate.items():
        print(f"  generate of {name:<22} {statistics.median(values):8.2f} ms/token")
    print(f"  every step                         {statistics.median(figures.every_step):8.2f}")
    print(
        f"  threshold {THRESHOLD}                      {statistics.median(figures.threshold):8.2f}"
    )
    for name, value in ratios(pair, figures).items():
        print(f"  {name:<34} {value:8.2f}")


def pairs(folder: Path, sharpness: float) -> list[Pair]:
    """The demo pair, and random Llamas of 15M and 110M parameters."""
    demo = Path(__file__).parents[1] / "demo" / "models"
    small = make_random_llama(folder / "15m", SHAPES["15m"], 1, sharpness)
    large = make_random_llama(folder / "110m", SHAPES["110m"], 2, sharpness)
    return [
        Pair("demo pair", {"ada": demo / "ada", "bora": demo / "bora"}, STORY, True),
        Pair("random Llamas, 15M and 110M", {"15m": small, "110m": large}, TEXT, False),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--sharpness", type=float, default=64.0)
    parser.add_argument("--only", default="")
    options = parser.parse_args(arguments)
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    hardware = f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}"
    print(f"{hardware}; {options.rounds} rounds of {options.tokens} tokens, greedy, float32")
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for pair in pairs(Path(folder), options.sharpness):
            if options.only not in pair.name:
                continue
            figures = measure(pair, options.rounds, options.tokens)
            show(pair, figures)
            results[pair.name] = {n: round(v, 3) for n, v in ratios(pair, figures).items()}
    print(json.dumps({"hardware": hardware, "pairs": results}))


if __name__ == "__main__":
    main()
