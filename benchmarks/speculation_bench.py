"""What lossless speculation gives, against how often the drafter is right.

The drafter has 15M parameters.  The other member is the same function grown to 110M by layers that
add nothing; then with noise in those layers' output projections, so that it agrees ever less.
Beside them: two members that never agree, and the trained demo pair.  Every ratio is of medians,
over `generate` of the slowest member.
"""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.agreement import Drafter, agreement
from benchmarks.alone import Alone
from benchmarks.lineups import Lineup, Workshop, demo_pair
from benchmarks.plots import Plot
from benchmarks.random_models import COMMON, grow_llama, layers_for
from benchmarks.reporting import announce, finish, parse, parser, show_table
from benchmarks.rounds import alternate, medians
from benchmarks.running import Running, Stage
from gac.config import EngineConfig, SpeculationConfig

MODELS = "a random Llama of 15M parameters, the same grown to 110M, noise; ada and bora of the demo"
NOISES = (0.0, 0.002, 0.005, 0.01, 0.03)
LARGE = 110_000_000
NUM_AGREEMENT_TEXTS = 2


@dataclass(frozen=True)
class Found:
    """One line-up: acceptance as told and as seen from outside, and medians in ms a token."""

    name: str
    acceptance: float
    told_acceptance: float | None
    generate: float
    written: float

    @property
    def ratio(self) -> float:
        """The ensemble's time over that of `generate` of its slowest member."""
        return self.written / self.generate


def measure(stage: Stage, lineup: Lineup, options: Any) -> Found:
    """Alternate `generate` of the members and the ensemble; the first member drafts."""
    models = {name: Alone(path) for name, path in lineup.paths.items()}
    speculation = SpeculationConfig(drafter=lineup.gate, max_tokens=options.max_tokens)
    settings = EngineConfig(speculation=speculation)
    with stage.start(lineup, settings) as running:
        medians_ms = medians(_alternate(running, models, options))
        written = medians_ms.pop("")
        requests = running.requests(99, NUM_AGREEMENT_TEXTS, options.tokens)
        seen = agreement(running, Drafter(lineup.gate, models[lineup.gate]), requests)
        told = running.engine.speculation
        assert told is not None
        accepted = told.num_accepted / told.num_drafted if told.num_drafted else None
    return Found(lineup.name, seen, accepted, max(medians_ms.values()), written)


def _alternate(running: Running, models: dict[str, Alone], options: Any) -> dict[str, list[float]]:
    """Milliseconds a token of every member by name, and of the ensemble under ''."""

    def generate(name: str) -> Any:
        def measure(place: int) -> float:
            ids = running.prompts(1000 * place)[name].ids
            return models[name].generate(ids, options.tokens)

        return measure

    def write(place: int) -> float:
        return running.write(running.requests(place, 1, options.tokens)).ms_per_token

    return alternate({**{name: generate(name) for name in models}, "": write}, options.rounds)


def lineups(workshop: Workshop, quick: bool) -> Iterator[Lineup]:
    """The line-ups one after the other; what is large is deleted when the next is wanted."""
    small = workshop.llama("15m", 1)
    layers = layers_for(workshop.shape("15m"), COMMON.size, LARGE) if not quick else 6
    for noise in NOISES[: 1 if quick else None]:
        large = grow_llama(workshop.folder / "grown", small, layers, seed=7, noise=noise)
        yield Lineup(f"noise {noise:g}", {"15m": small, "110m": large})
        shutil.rmtree(large)
    flat = workshop.llama("15m", 1, sharpness=1.0)
    yield Lineup("never agree", {"15m_flat": flat, "110m": workshop.llama("110m", 2)})
    if not quick:
        yield demo_pair()


def show(found: Sequence[Found], out: Path) -> None:
    """A table and a plot."""
    rows = [
        (one.name, one.acceptance, _or_dash(one.told_acceptance), one.generate, one.written)
        + (one.ratio,)
        for one in found
    ]
    columns = ["", "acceptance", "told", "generate, slowest: ms", "ensemble: ms", "ratio"]
    show_table("Speculation", columns, rows)
    sweep = sorted((one.acceptance, one.ratio) for one in found if one.name.startswith("noise"))
    others = {one.name: [(one.acceptance, one.ratio)] for one in found if "noise" not in one.name}
    with Plot(out / "speculation.png") as plot:
        labels = ("acceptance", "over generate of the slowest member")
        series = {"the same function, noise added": sweep, **others}
        plot.lines(0, "an ensemble with speculation", labels, series)


def _or_dash(value: float | None) -> float | str:
    return "-" if value is None else value


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the benchmark."""
    options = parser(__doc__, rounds=5, tokens=32)
    options.add_argument("--max-tokens", type=int, default=4, help="the most tokens of a draft")
    options = parse(options, arguments)
    about = announce("speculation", options, MODELS)
    with tempfile.TemporaryDirectory() as folder, Stage(options.members == "ray") as stage:
        workshop = Workshop(Path(folder), options.quick)
        found = [measure(stage, lineup, options) for lineup in lineups(workshop, options.quick)]
    show(found, options.out)
    ratios = {f"{one.name}: ensemble / generate of the slowest": one.ratio for one in found}
    details = [asdict(one) for one in found]
    return finish(about, ratios, lineups=details)


if __name__ == "__main__":
    main()
