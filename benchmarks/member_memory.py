"""One member that answers many short requests, and what its process holds meanwhile.

Imports what an actor does and nothing else.  Started by `memory_bench`.
"""

import argparse
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import gac.members.ray_actor  # noqa: F401  as its process imports it
from gac.core import Answer, Extend
from gac.decoding.support import TokenOrder
from gac.members.host import MemberHost
from gac.members.loader import LoadOrder, MemberLoader, Seat
from gac.model.loading import ModelSpec

CONCURRENCY = 16
LENGTHS = (1, 8, 24, 60, 120)
ANSWERS = (1, 2, 4, 8)
KV_TOKENS = 4096
NUM_MARKS = 20

Sizes = dict[str, float]
"""Mebibytes by kind."""


@dataclass
class Written:
    """One sequence while it is written."""

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


def requests(count: int, num_ids: int, draw: random.Random) -> Iterator[Written]:
    """Prompts of mixed lengths; a third of them begin alike."""
    shared = [draw.randrange(256, num_ids) for _ in range(40)]
    for sequence in range(count):
        ids = shared[:] if draw.random() < 0.33 else []
        ids += [draw.randrange(256, num_ids) for _ in range(draw.choice(LENGTHS))]
        yield Written(sequence, ids, 0, draw.choice(ANSWERS))


def drive(host: MemberHost, count: int, num_ids: int) -> dict[int, Sizes]:
    """Answer all requests; the sizes after every so many of them."""
    draw, coming = random.Random(0), requests(count, num_ids, random.Random(1))
    found: dict[int, Sizes] = {}
    running: list[Written] = []
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
    found[done] = sizes_now()
    return found


def measure(folder: str, count: int) -> dict[str, Any]:
    """Load a model, seat it and have it answer; sizes in MiB."""
    imported = sizes_now()
    spec = ModelSpec(folder, num_threads=1)
    loader = MemberLoader(LoadOrder("member", spec, 1, 64, KV_TOKENS, cuda_graphs=False))
    facts = loader.load()
    places = np.arange(facts.num_logits, dtype=np.int32)
    order = TokenOrder(places, places.astype(np.uint64))
    host = loader.seat(Seat(places, None, places, order))
    loaded = sizes_now()
    return {
        "imported": imported,
        "loaded": loaded,
        "marks": drive(host, count, facts.num_logits - 1),
    }


if __name__ == "__main__":
    known = argparse.ArgumentParser(description=__doc__)
    known.add_argument("folder", help="the model's")
    known.add_argument("count", type=int, help="requests")
    given = known.parse_args()
    print(json.dumps(measure(given.folder, given.count)))
