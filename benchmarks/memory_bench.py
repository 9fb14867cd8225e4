"""What a member's process holds: weights, the bound of its K/V cache, and how much besides.

One random Llama, seated as in an actor, in a process of its own, answers short requests of mixed
lengths, up to 16 at once.  The bound is so small that it is reached.  `resident` counts everything
mapped, `private` leaves out mapped files, such as torch's libraries, which processes share.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.member_memory import ANSWERS, CONCURRENCY, KV_TOKENS
from benchmarks.plots import Plot
from benchmarks.random_models import COMMON, SHAPES, Shape, make_random_llama
from benchmarks.reporting import announce, finish, parse, parser, show_table

MIB = 2**20
ALLOWED_MIB = 300


def show(found: Any, size: Shape, options: Any) -> dict[str, float]:
    """A table and a plot; gives what is held besides weights and bound."""
    marks = {int(count): sizes for count, sizes in found["marks"].items()}
    last, tenth = marks[max(marks)], marks[min(n for n in marks if 10 * n >= max(marks))]
    stages = {"imports": found["imported"], "loaded": found["loaded"], "a tenth": tenth}
    stages["all requests"] = last
    rows = [
        (name, sizes["resident"], sizes["private"], sizes["peak"]) for name, sizes in stages.items()
    ]
    show_table("MiB", ["after", "resident", "private", "peak resident"], rows)
    weights = size.num_parameters(COMMON.size) * 4 / MIB
    bound = KV_TOKENS * 2 * size.layers * size.hidden * 4 / MIB
    granted = weights + bound
    print(f"  weights {weights:.0f}, K/V bound {bound:.0f}")
    with Plot(options.out / "memory.png") as plot:
        kinds = ("resident", "private")
        series = {kind: [(n, sizes[kind]) for n, sizes in marks.items()] for kind in kinds}
        plot.lines(0, "a member's memory", ("requests", "MiB"), series)
    return {
        "peak resident besides weights and K/V bound": last["peak"] - granted,
        "private besides weights and K/V bound": last["private"] - granted,
        "resident after all over after a tenth": last["resident"] / tenth["resident"],
    }


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the benchmark."""
    options = parser(__doc__, rounds=1, tokens=max(ANSWERS))
    options.add_argument("--requests", type=int, default=10_000)
    options = parse(options, arguments)
    shape, count = ("tiny", 300) if options.quick else ("15m", options.requests)
    models = f"a random Llama, {shape}; up to {CONCURRENCY} of {count} requests at once"
    options.members = "none but this one"
    seeds = "model 1, prompts 1, arrivals and lengths of answers 0 and 1"
    about = announce("memory", options, models, "greedy, float32, one thread", seeds)
    with tempfile.TemporaryDirectory() as folder:
        make_random_llama(Path(folder), SHAPES[shape], 1)
        command = [sys.executable, "-m", "benchmarks.member_memory", folder, str(count)]
        run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    besides = show(json.loads(run.stdout.splitlines()[-1]), SHAPES[shape], options)
    ratio = besides.pop("resident after all over after a tenth")
    show_table("Besides", ["", "MiB", "allowed"], [(n, m, ALLOWED_MIB) for n, m in besides.items()])
    return finish(about, {"resident after all over after a tenth": ratio}, mib=besides)


if __name__ == "__main__":
    main()
