"""What a member's process holds: weights, the bound of its K/V cache, and how much besides.

One random Llama, seated as in an actor, in a process of its own, answers short requests of mixed
lengths, up to 16 at once.  The bound is so small that it is reached.  `resident` counts everything
mapped, `private` leaves out mapped files, such as torch's libraries, which processes share.
"""

import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.plots import Plot
from benchmarks.random_models import COMMON, SHAPES, make_random_llama
from benchmarks.reporting import announce, finish, parse, parser, show_table
from gac.core import Answer, Extend
from gac.decoding.support import TokenOrder
from gac.members.host import MemberHost
from gac.members.loader import LoadOrder, MemberLoader, Seat
from gac.model.loading import ModelSpec

MIB = 2**20
ALLOWED_MIB = 300
CONCURRENCY = 16
LENGTHS = (1, 8, 24, 60, 120)
ANSWERS = (1, 2, 4, 8)
KV_TOKENS = 4096
NUM_MARKS = 20

Sizes = dict[str, float]
"""Mebibytes by kind."""


@dataclass
class Request:
    """One text that is being written."""

    sequence: int
    ids: list[int]
    told: int
    left: int


def sizes_now() -> Sizes:
    """What the kernel says of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    told = dict(line.split(":", 1) for line in lines)
    kib = {key: int(told[key].split()[0]) for key in ("VmRSS", "VmHWM", "RssFile")}
    return {
        "resident": kib["VmRSS"] / 1024,
        "peak": kib["VmHWM"] / 1024,
        "private": (kib["VmRSS"] - kib["RssFile"]) / 1024,
    }


def requests(count: int, draw: random.Random) -> Iterator[Request]:
    """Prompts of mixed lengths; a third of them begin alike."""
    shared = [draw.randrange(256, COMMON.size - 1) for _ in range(40)]
    for sequence in range(count):
        ids = shared[:] if draw.random() < 0.33 else []
        ids += [draw.randrange(256, COMMON.size - 1) for _ in range(draw.choice(LENGTHS))]
        yield Request(sequence, ids, 0, draw.choice(ANSWERS))


def drive(host: MemberHost, count: int) -> dict[int, Sizes]:
    """Answer all requests; the sizes after every so many of them."""
    draw, coming = random.Random(0), requests(count, random.Random(1))
    found: dict[int, Sizes] = {}
    running: list[Request] = []
    done, wanted, every = 0, 1, max(1, count // NUM_MARKS)
    while done < count:
        while len(running) < wanted and (request := next(coming, None)) is not None:
            running.append(request)
        items = [Extend(r.sequence, r.told, tuple(r.ids[r.told :]), (len(r.ids),)) for r in running]
        for request, answer in zip(running, host.extend(items).answers, strict=True):
            assert isinstance(answer, Answer), answer
            request.told = len(request.ids)
            request.ids.append(int(answer.rows[0].ids[0]))
            request.left -= 1
        finished = [request.sequence for request in running if not request.left]
        host.release(finished)
        running = [request for request in running if request.left]
        if finished:
            wanted = draw.randint(1, CONCURRENCY)
        if done // every < (done + len(finished)) // every:
            found[done + len(finished)] = sizes_now()
        done += len(finished)
    return found


def measure(folder: str, shape: str, count: int) -> dict[str, Any]:
    """Run in this process, which should do nothing else; sizes in MiB."""
    imported = sizes_now()
    spec = ModelSpec(folder)
    loader = MemberLoader(LoadOrder("member", spec, 2, 64, KV_TOKENS))
    facts = loader.load()
    places = np.arange(facts.num_logits, dtype=np.int32)
    order = TokenOrder(places, places.astype(np.uint64))
    host = loader.seat(Seat(places, None, places, order))
    loaded = sizes_now()
    marks = drive(host, count)
    size = SHAPES[shape]
    return {
        "imported": imported,
        "loaded": loaded,
        "marks": marks,
        "weights": size.num_parameters(COMMON.size) * 4 / MIB,
        "kv_bound": KV_TOKENS * 2 * size.layers * size.hidden * 4 / MIB,
    }


def show(found: Any, options: Any) -> dict[str, float]:
    """A table and a plot; gives what is held besides weights and bound."""
    marks = {int(count): sizes for count, sizes in found["marks"].items()}
    last, tenth = marks[max(marks)], marks[min(n for n in marks if 10 * n >= max(marks))]
    stages = {"imports": found["imported"], "loaded": found["loaded"], "a tenth": tenth}
    stages["all requests"] = last
    rows = [
        (name, sizes["resident"], sizes["private"], sizes["peak"]) for name, sizes in stages.items()
    ]
    show_table("MiB", ["after", "resident", "private", "peak resident"], rows)
    granted = found["weights"] + found["kv_bound"]
    print(f"  weights {found['weights']:.0f}, K/V bound {found['kv_bound']:.0f}")
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
    options.add_argument("--here", help="a model's folder: measure in this process")
    options = parse(options, arguments)
    shape, count = ("tiny", 300) if options.quick else ("15m", options.requests)
    if options.here:
        print(json.dumps(measure(options.here, shape, count)))
        return {}
    models = f"a random Llama, {shape}; up to {CONCURRENCY} of {count} requests at once"
    about = announce("memory", options, models)
    with tempfile.TemporaryDirectory() as folder:
        make_random_llama(Path(folder), SHAPES[shape], 1)
        command = [sys.executable, "-m", "benchmarks.memory_bench", "--here", folder]
        command += ["--requests", str(count), *(["--quick"] if options.quick else [])]
        run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    besides = show(json.loads(run.stdout.splitlines()[-1]), options)
    ratio = besides.pop("resident after all over after a tenth")
    show_table("Besides", ["", "MiB", "allowed"], [(n, m, ALLOWED_MIB) for n, m in besides.items()])
    return finish(about, {"resident after all over after a tenth": ratio}, mib=besides)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
