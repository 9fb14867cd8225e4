"""Where a step's time goes, function by function: on the engine's thread, and inside one member.

A profiler makes Python slower than it is: read shares, not milliseconds.  No part of `make bench`.
"""

import cProfile
import pstats
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.lineups import Lineup, Workshop, demo_pair
from benchmarks.reporting import announce, parse, parser, show_table
from benchmarks.running import Running, Stage
from gac.config import EngineConfig, MemberConfig
from gac.core import Event, Extend, TokenEvent
from gac.members.loader import MemberLoader, Seat, load_order

NUM_SHOWN = 25
WAITING = ("'get' of '_queue", "'acquire' of '_thread", "poll")


def profile_engine(running: Running, count: int, num_tokens: int) -> cProfile.Profile:
    """The engine's thread while it decodes so many requests at once.

    Uses the engine's `submit`, whose events come on that thread.
    """
    switch = _Switch(count)
    running.engine.submit(running.requests(1, count, num_tokens), switch)
    switch.ended.wait()
    return switch.profile


class _Switch:
    """A sink, as a profiler has to be switched by the thread that it watches."""

    def __init__(self, num_requests: int) -> None:
        self.profile = cProfile.Profile()
        self.ended = threading.Event()
        self._to_begin = self._num_left = num_requests
        self._begun: set[str] = set()

    def put(self, event: Event) -> None:
        """On once every request has begun, off when all have ended."""
        if isinstance(event, TokenEvent) and len(self._begun) < self._to_begin:
            self._begun.add(event.request_id)
            if len(self._begun) == self._to_begin:
                self.profile.enable()
        elif not isinstance(event, TokenEvent):
            self._num_left -= 1
            if not self._num_left:
                self.profile.disable()
                self.ended.set()

    def is_full(self) -> bool:
        """Never."""
        return False


def profile_member(running: Running, count: int, num_tokens: int) -> cProfile.Profile:
    """The gate's own work for so many sequences, without any transport."""
    name = running.lineup.gate
    member = MemberConfig(path=str(running.lineup.paths[name]), name=name, num_threads=1)
    loader = MemberLoader(load_order(member, EngineConfig(), num_members=2))
    loader.load()
    union = running.ensemble.union
    own_ids = union.own_ids(running.ensemble.vocabularies[name])
    places, lead_places = union.places[name], union.lead_places.get(name)
    host = loader.seat(Seat(places, lead_places, own_ids, running.ensemble.order))
    prompts = [request.prompts[name].ids for request in running.requests(1, count, 1)]
    host.extend([Extend(n, 0, ids, (len(ids),)) for n, ids in enumerate(prompts)])
    draw = np.random.default_rng(0)
    profile = cProfile.Profile()
    for step in range(num_tokens):
        ids = draw.integers(256, 400, count).tolist()
        lengths = [len(prompt) + step for prompt in prompts]
        batch = [Extend(n, lengths[n], (ids[n],), (lengths[n] + 1,)) for n in range(count)]
        profile.runcall(host.extend, batch)
    return profile


def show(title: str, profile: cProfile.Profile, steps: int) -> None:
    """The functions with the most time of their own, in milliseconds a step."""
    profile.create_stats()
    rows = []
    for (file, line, name), (_, calls, own, total, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        where = f"{Path(file).name}:{line} {name}" if line else name
        if not any(word in where for word in WAITING):
            rows.append((where[-70:], calls / steps, own * 1000 / steps, total * 1000 / steps))
    for order, place in (("own", 2), ("with what it calls", 3)):
        best = sorted(rows, key=lambda row: -row[place])[:NUM_SHOWN]
        show_table(f"{title}, by time {order}", ["", "calls", "own ms", "ms"], best)


def main(arguments: Sequence[str] | None = None) -> None:
    """Profile a line-up."""
    options: Any = parser(__doc__, rounds=1, tokens=64)
    options.add_argument("--batch", type=int, default=1, help="requests at once")
    options.add_argument("--demo", action="store_true", help="ada and bora; else two of 15M")
    options = parse(options, arguments)
    announce("profile", options, "ada and bora" if options.demo else "two random Llamas of 15M")
    with tempfile.TemporaryDirectory() as folder, Stage(options.members == "ray") as stage:
        workshop = Workshop(Path(folder), options.quick)
        lineup: Lineup = demo_pair() if options.demo else workshop.small_pair()
        with stage.start(lineup) as running:
            running.write(running.requests(0, options.batch, options.tokens))
            engine = profile_engine(running, options.batch, options.tokens)
            show(f"the engine's thread, batch {options.batch}", engine, options.tokens - 1)
            member = profile_member(running, options.batch, options.tokens)
            show(f"one member, batch {options.batch}", member, options.tokens)


if __name__ == "__main__":
    main()
