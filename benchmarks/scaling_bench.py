"""How a step's cost grows with the union vocabulary and with the context.

Orchestration is all of a step but the slowest member's forward and its row.  The models are tiny,
so that little else is measured.  In every round the smallest union is measured beside the larger
one; commits are measured without any model as well.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.commit_cost import CommitCost
from benchmarks.lineups import Lineup, Workshop, demo_pair, words
from benchmarks.plots import Plot
from benchmarks.reporting import announce, finish, parse, parser, show_table
from benchmarks.rounds import alternate, medians
from benchmarks.running import Running, Stage
from benchmarks.vocabularies import pair_with_union
from gac.core import GenerateRequest, Prompt

MODELS = "two random Llamas, hidden 32, 2 layers, with unequal vocabularies; tokenizers of the demo"
UNIONS = (32_000, 64_000, 128_000, 200_000, 340_000)
CONTEXTS = (100, 500, 1000, 2000, 4000)
COMMIT_LENGTHS = (100, 1000, 4000)
COMMIT_ROUNDS = 5
"""Times as many rounds as elsewhere: one takes so short that a busy machine is one all through."""
MAX_LENGTH = 8192
TEXT_PIECES = 50
"""Pieces of text that are surely longer than the longest context."""

Points = dict[int, float]


def lineup_of(workshop: Workshop, union: int) -> Lineup:
    """Two tiny members whose vocabularies have a union of this size."""
    one, other = pair_with_union(union)
    paths = {
        "one": workshop.llama("tiny", 1, one, max_length=MAX_LENGTH),
        "other": workshop.llama("tiny", 2, other, max_length=MAX_LENGTH),
    }
    return Lineup(f"union {union // 1000}k", paths)


def measure_unions(
    stage: Stage, workshop: Workshop, smallest: Running, unions: Sequence[int], options: Any
) -> tuple[Points, Points]:
    """Milliseconds of orchestration by union size, and ratios to the smallest in the same rounds.

    One after the other, as all members at once would not fit into a small machine.
    """
    points: Points = {}
    ratios: Points = {}
    for union in unions[1:]:
        with stage.start(lineup_of(workshop, union)) as larger:
            both = {"smallest": smallest, "larger": larger}
            measures = {name: _orchestration(one, 100, options) for name, one in both.items()}
            found = medians(alternate(measures, options.rounds))
        points.setdefault(unions[0], found["smallest"])
        points[union] = found["larger"]
        ratios[union] = found["larger"] / found["smallest"]
    return points, ratios


def measure_contexts(running: Running, contexts: Sequence[int], options: Any) -> Points:
    """Milliseconds of orchestration by the length of the prompt."""
    measures = {str(n): _orchestration(running, n, options) for n in contexts}
    found = medians(alternate(measures, options.rounds))
    return {int(length): ms for length, ms in found.items()}


def _orchestration(running: Running, context: int, options: Any) -> Any:
    def measure(place: int) -> float:
        request = _request(running, context, options.tokens, place)
        return running.split([request]).orchestration_ms

    return measure


def _request(running: Running, context: int, num_tokens: int, place: int) -> GenerateRequest:
    """A request whose prompt has exactly so many ids for every member."""
    text = "".join(words(1000 * place + n) for n in range(TEXT_PIECES))
    prompts = {n: Prompt(p.ids[:context]) for n, p in running.prompts_for(text).items()}
    assert all(len(prompt.ids) == context for prompt in prompts.values())
    return GenerateRequest(f"{context}-{place}", prompts, num_tokens, ignore_eos=True)


def measure_commits(lengths: Sequence[int], options: Any) -> Points:
    """Milliseconds a commit by the length of the text so far."""
    cost = CommitCost(demo_pair())
    steps = 20 if options.quick else 200

    def measure(length: int) -> Any:
        return lambda place: cost.measure(length, steps, place)

    measures = {str(n): measure(n) for n in lengths}
    found = medians(alternate(measures, COMMIT_ROUNDS * options.rounds))
    return {int(length): ms for length, ms in found.items()}


def over_first(points: Points) -> Points:
    """All but the first point, as ratios to it."""
    first, *rest = points
    return {x: points[x] / points[first] for x in rest}


def show(title: str, unit: str, points: Points, ratios: Points) -> None:
    """A table of one sweep."""
    rows = [(f"{x}", ms, ratios.get(x, 1.0)) for x, ms in points.items()]
    show_table(title, [unit, "ms a step", "over the first"], rows)


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the benchmark."""
    options = parse(parser(__doc__, rounds=5, tokens=64), arguments)
    about = announce("scaling", options, MODELS)
    unions, contexts, lengths = UNIONS, CONTEXTS, COMMIT_LENGTHS
    if options.quick:
        unions, contexts, lengths = UNIONS[:2], CONTEXTS[:2], COMMIT_LENGTHS[::2]
    with tempfile.TemporaryDirectory() as folder, Stage(options.members == "ray") as stage:
        workshop = Workshop(Path(folder))
        with stage.start(lineup_of(workshop, unions[0])) as running:
            by_union, union_ratios = measure_unions(stage, workshop, running, unions, options)
            by_context = measure_contexts(running, contexts, options)
    by_length = measure_commits(lengths, options)
    sweeps = {
        "orchestration by union": (by_union, union_ratios),
        "orchestration by context": (by_context, over_first(by_context)),
        "commit by length": (by_length, over_first(by_length)),
    }
    for title, (points, ratios) in sweeps.items():
        show(title, title.rpartition(" ")[2], points, ratios)
    with Plot(options.out / "scaling.png", len(sweeps)) as plot:
        for place, (title, (points, _)) in enumerate(sweeps.items()):
            plot.lines(place, title, (title.rpartition(" ")[2], "ms"), {"": list(points.items())})
    ratios = {
        f"{title}: {x} / {next(iter(points))}": ratio
        for title, (points, found) in sweeps.items()
        for x, ratio in found.items()
    }
    return finish(about, ratios, ms={title: points for title, (points, _) in sweeps.items()})


if __name__ == "__main__":
    main()
