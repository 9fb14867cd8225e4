"""What a step costs: next to the members' own `generate`, and split into its phases.

Ratios are of medians over rounds in which `generate` and the server alternate.  The bound of a
threshold strategy is the gate's `generate` plus, for the share of tokens that were ensembled, one
step of the slowest supporter.  SAFE is measured where its tests let nearly every draft through, and
sampled at temperature 1, where rows are complete, beside every step.
"""

import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.alone import Alone
from benchmarks.lineups import Lineup, Workshop, demo_pair
from benchmarks.phases import Split
from benchmarks.plots import Plot
from benchmarks.reporting import announce, finish, parse, parser, show_table
from benchmarks.rounds import alternate, median_by_key, medians
from benchmarks.running import Running, Stage
from benchmarks.sampled import measure_sampled
from benchmarks.vocabularies import pair_with_union
from gac.config import EveryStepConfig, SafeConfig, ThresholdConfig

NUM_CONCURRENT = 16
THRESHOLD = 0.5
SURE = 0.0
"""A consensus cut that every draft is above, so that only first tokens are ensembled ..."""
LEAST_SAFE_TOKENS = 64
"""... which in so many are under 2 per cent."""
LONG_DRAFT = 32
"""For a verifier that is much slower than the drafter."""
BATCHES = (1, 4, 16)
UNIONS = (32_000, 200_000)
MODELS = "random Llamas of 15M and 110M parameters; ada and bora of the demo, 1M each"


@dataclass(frozen=True)
class Ratios:
    """Medians of one line-up, in milliseconds a token, and what follows from them."""

    name: str
    gate: str
    alone: Mapping[str, float]
    every_step: float
    threshold: float
    share: float
    safe: float
    long: float
    safe_share: float
    many: float | None

    @property
    def bound(self) -> float:
        """What the threshold strategy may take."""
        supporters = [ms for name, ms in self.alone.items() if name != self.gate]
        return self.alone[self.gate] + self.share * max(supporters)

    def named(self) -> dict[str, float]:
        """The ratios by what they are of."""
        ratios = {
            "every step / generate of the slowest": self.every_step / max(self.alone.values()),
            "threshold / its bound": self.threshold / self.bound,
            "SAFE / generate of the drafter": self.safe / self.alone[self.gate],
            f"SAFE, drafts of {LONG_DRAFT} / the same": self.long / self.alone[self.gate],
        }
        if self.many is not None:
            ratios[f"tokens/s of {NUM_CONCURRENT} / of one"] = self.every_step / self.many
        return {f"{self.name}: {what}": ratio for what, ratio in ratios.items()}


class RatioBench:
    """One line-up at work beside its members' own models.

    No text is written on twice, so that no cache of prompts can help; stories repeat at times.
    """

    def __init__(self, running: Running, num_tokens: int) -> None:
        self._running = running
        self._num_tokens = num_tokens
        self._models = {name: Alone(path) for name, path in running.lineup.paths.items()}
        self._gated = ThresholdConfig(gate=running.lineup.gate, threshold=THRESHOLD)
        self._verified = SafeConfig(drafter=running.lineup.gate, consensus=SURE)
        self._long = self._verified.model_copy(update={"max_tokens": LONG_DRAFT})
        self._shares: list[float] = []
        self._safe_shares: list[float] = []

    def measure(self, rounds: int, with_many: bool) -> Ratios:
        """Alternate `generate` of every member and the strategies."""
        measures = {name: self._generate(name) for name in self._models}
        measures |= {"every step": self._every_step(1), "threshold": self._threshold}
        measures |= {"safe": self._safe(self._verified), "long": self._safe(self._long)}
        if with_many:
            measures["many"] = self._every_step(NUM_CONCURRENT)
        found = medians(alternate(measures, rounds))
        return Ratios(
            name=self._running.lineup.name,
            gate=self._running.lineup.gate,
            alone={name: found[name] for name in self._models},
            every_step=found["every step"],
            threshold=found["threshold"],
            share=statistics.mean(self._shares[1:]),
            safe=found["safe"],
            long=found["long"],
            safe_share=statistics.mean(self._safe_shares[1:]),
            many=found.get("many"),
        )

    def _generate(self, name: str) -> Any:
        def measure(place: int) -> float:
            ids = self._running.prompts(1000 * place)[name].ids
            return self._models[name].generate(ids, self._num_tokens)

        return measure

    def _every_step(self, count: int) -> Any:
        def measure(place: int) -> float:
            self._running.use(EveryStepConfig())
            requests = self._running.requests(100 * count + place, count, self._num_tokens)
            return self._running.write(requests).ms_per_token

        return measure

    def _threshold(self, place: int) -> float:
        self._running.use(self._gated)
        requests = self._running.requests(place, 1, self._num_tokens)
        written = self._running.write(requests)
        self._shares.append(written.num_ensembled / written.num_tokens)
        return written.ms_per_token

    def _safe(self, strategy: SafeConfig) -> Any:
        def measure(place: int) -> float:
            self._running.use(strategy)
            num_tokens = max(self._num_tokens, LEAST_SAFE_TOKENS)
            texts = 300 + place + strategy.max_tokens
            written = self._running.write(self._running.requests(texts, 1, num_tokens))
            self._safe_shares.append(written.num_ensembled / written.num_tokens)
            return written.ms_per_token

        return measure


@dataclass(frozen=True)
class Task:
    """A line-up, the batch sizes at which a step is split, and whether ratios are taken."""

    lineup: Lineup
    batches: Sequence[int] = (1,)
    with_ratios: bool = True
    with_many: bool = False
    with_sampled: bool = False


def tasks(workshop: Workshop, quick: bool) -> list[Task]:
    """Pairs for the ratios; more members, larger batches and unions for the split."""
    two = workshop.small_pair()
    if quick:
        return [Task(two, (1, 4), with_many=True, with_sampled=True)]
    three = Lineup("three of 15M", {**two.paths, "15m_also": workshop.llama("15m", 4)})
    return [
        Task(two, BATCHES, with_many=True),
        Task(three, BATCHES, with_ratios=False),
        Task(workshop.unequal_pair()),
        Task(workshop.foreign_pair(), with_sampled=True),
        Task(demo_pair(), BATCHES, with_many=True),
        *(Task(_tiny_pair(workshop, u), with_ratios=False, with_sampled=True) for u in UNIONS),
    ]


def _tiny_pair(workshop: Workshop, union: int) -> Lineup:
    one, other = pair_with_union(union)
    paths = {"one": workshop.llama("tiny", 1, one), "other": workshop.llama("tiny", 2, other)}
    return Lineup(f"tiny, union {union // 1000}k", paths)


def measure_splits(running: Running, batches: Sequence[int], options: Any) -> dict[str, Split]:
    """The split of a step at every batch size, from the medians of its phases."""
    running.use(EveryStepConfig())

    def measure(count: int) -> Any:
        return lambda place: running.split(running.requests(place, count, options.tokens))

    found = alternate({str(count): measure(count) for count in batches}, options.rounds)
    return {
        f"{running.lineup.name}, batch {count}": Split(
            statistics.median(split.step_ms for split in splits),
            median_by_key([split.phases_ms for split in splits]),
            round(statistics.median(split.num_completed for split in splits)),
        )
        for count, splits in found.items()
    }


def show(
    found: Sequence[Ratios],
    ratios: Mapping[str, float],
    splits: Mapping[str, Split],
    out: Path,
) -> None:
    """Tables and a plot."""
    rows = [
        (one.name, max(one.alone.values()), one.every_step, one.alone[one.gate], one.share)
        + (one.bound, one.threshold, one.safe, one.long, one.safe_share)
        for one in found
    ]
    columns = ["ms a token", "generate, slowest", "every step", "generate, gate"]
    show_table(
        "Medians", [*columns, "ensembled", "bound", "threshold", "SAFE", "long", "share"], rows
    )
    show_table("Ratios", ["", "ratio"], list(ratios.items()))
    phases = list(next(iter(splits.values())).phases_ms)
    rows = [
        (name, split.step_ms, *(split.phases_ms[phase] for phase in phases))
        for name, split in splits.items()
    ]
    show_table("A step in ms", ["", "step", *phases], rows)
    with Plot(out / "step.png", 2) as plot:
        plot.bars(0, "ratios", "ratio", {w.replace(": ", "\n"): r for w, r in ratios.items()})
        shares = {
            name: {phase: 100 * ms / split.step_ms for phase, ms in split.phases_ms.items()}
            for name, split in splits.items()
        }
        plot.stacks(1, "where a step's time goes", "per cent", shares)


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the benchmark."""
    known = parser(__doc__, rounds=5, tokens=64)
    known.add_argument("--only", default="", help="line-ups whose name is this (default: all)")
    options = parse(known, arguments)
    about = announce("step", options, MODELS)
    with tempfile.TemporaryDirectory() as folder, Stage(options.members == "ray") as stage:
        found: list[Ratios] = []
        sampled: dict[str, float] = {}
        splits: dict[str, Split] = {}
        for task in tasks(Workshop(Path(folder), options.quick), options.quick):
            if options.only not in ("", task.lineup.name):
                continue
            with stage.start(task.lineup) as running:
                if task.with_ratios:
                    bench = RatioBench(running, options.tokens)
                    found.append(bench.measure(options.rounds, task.with_many))
                if task.with_sampled:
                    sampled |= measure_sampled(running, options.rounds, options.tokens)
                splits |= measure_splits(running, task.batches, options)
    ratios = {what: ratio for one in found for what, ratio in one.named().items()} | sampled
    show(found, ratios, splits, options.out)
    shown = {n: {"step": s.step_ms, **s.phases_ms} for n, s in splits.items()}
    return finish(
        about, ratios, medians=[{**vars(one), "bound": one.bound} for one in found], splits_ms=shown
    )


if __name__ == "__main__":
    main()
