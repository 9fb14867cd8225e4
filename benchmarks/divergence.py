"""How often speculation changes a text, which in exact arithmetic it never does.

A chunk of drafted ids and single steps round differently.  The same requests are written without
and with drafts, one at a time; counted is the first token that differs, over all tokens up to
there, in bfloat16 and in float32.  For comparison: the same requests without drafts, all at once,
since a batch and a single sequence round differently, too.
"""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.lineups import DEMO_MODELS, Lineup, Workshop, demo_pair, story
from benchmarks.random_models import OTHER, grow_llama
from benchmarks.reporting import announce, finish, parse, parser, show_table
from gac.config import Config, EveryStepConfig, MemberConfig, RayConfig
from gac.core import GenerateRequest, Sampling, TokenEvent
from gac.decoding.strategies import StrategyMaker
from gac.engine.client_request import ClientRequest
from gac.engine.engine import Engine
from gac.engine.requests import prepare
from gac.engine.speculation import Pace, Speculation
from gac.engine.startup import Started, start_ensemble
from gac.engine.writer import write

MODELS = "random Llamas of 15M parameters, one grown by two layers of noise; the demo's members"
DTYPES = ("bfloat16", "float32")
NOISE = 0.01
SAMPLED = Sampling(temperature=1.0, top_p=0.9)
Texts = list[list[TokenEvent]]


class Always(Speculation):
    """Speculation that always drafts as much as it may, whatever it costs."""

    def __init__(self, drafter: str, max_tokens: int, members: Sequence[str]) -> None:
        paces = {name: Pace(1e-9 if name == drafter else 1.0) for name in members}
        super().__init__(drafter, max_tokens, paces)

    def note(self, *measured: object) -> None:
        """Learn nothing."""


@dataclass(frozen=True)
class Diverged:
    """How many of some texts part from others, over the tokens up to where they do."""

    texts: int
    tokens: int
    diverged: int
    owners: int
    """Texts in which the owners of a token differ, at the latest where the token does."""

    @property
    def per_1000(self) -> float:
        """First differences for a thousand tokens."""
        return 1000.0 * self.diverged / self.tokens


@dataclass(frozen=True)
class Found:
    """One line-up in one dtype: without drafts against with drafts, and against a batch."""

    name: str
    dtype: str
    sampled: bool
    acceptance: float
    drafts: Diverged
    batch: Diverged


def measure(lineup: Lineup, dtype: str, options: Any) -> Iterator[Found]:
    """Greedy and sampled, on members in this process; the first member drafts."""
    members = tuple(
        MemberConfig(path=str(path), name=name, dtype=dtype) for name, path in lineup.paths.items()
    )
    config = Config(members=members, ray=RayConfig(enabled=False))
    started = start_ensemble(config, None, lambda name, stage, fraction: None)
    try:
        for sampling in (Sampling(), SAMPLED):
            requests = [
                _request(config, started, lineup, place, sampling, options.tokens)
                for place in range(options.texts)
            ]
            speculation = Always(lineup.gate, options.max_tokens, list(lineup.paths))
            plain = _texts(started, requests, None)
            drafted = _texts(started, requests, speculation)
            batched = _texts(started, requests, None, at_once=True)
            yield Found(
                lineup.name,
                dtype,
                sampling is SAMPLED,
                speculation.num_accepted / max(1, speculation.num_drafted),
                compare(plain, drafted),
                compare(plain, batched),
            )
    finally:
        for member in started.ensemble.members.values():
            member.close()


def _request(
    config: Config, started: Started, lineup: Lineup, place: int, sampling: Sampling, tokens: int
) -> GenerateRequest:
    asked = ClientRequest(
        messages_list=[[{"role": "user", "content": lineup.text(place)}]],
        apply_chat_template=lineup.is_templated,
        max_new_tokens=tokens,
        ignore_eos=True,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        seed=place,
    )
    [request] = prepare(config, started, asked)
    return request


def _texts(
    started: Started,
    requests: Sequence[GenerateRequest],
    speculation: Speculation | None,
    at_once: bool = False,
) -> Texts:
    """The tokens of each request, written one at a time or all at once by an engine of its own."""
    make = StrategyMaker(EveryStepConfig())
    engine = Engine(started.ensemble, make, None, speculation)
    engine.start()
    try:
        groups = [requests] if at_once else [[request] for request in requests]
        return [list(text.tokens) for group in groups for text in write(engine, group)]
    finally:
        engine.stop()


def compare(ours: Texts, theirs: Texts) -> Diverged:
    """Two ways to write the same texts."""
    tokens = diverged = owners = 0
    for one, other in zip(ours, theirs, strict=True):
        differs = [a.token_bytes != b.token_bytes for a, b in zip(one, other, strict=True)]
        owned = [a.pick.owners != b.pick.owners for a, b in zip(one, other, strict=True)]
        count = differs.index(True) + 1 if any(differs) else len(differs)
        tokens, diverged = tokens + count, diverged + any(differs)
        owners += any(owned[:count])
    return Diverged(len(ours), tokens, diverged, owners)


def lineups(workshop: Workshop) -> Iterator[Lineup]:
    """One after the other."""
    small = workshop.llama("15m", 1)
    shape = workshop.shape("15m")
    grown = grow_llama(workshop.folder / "grown", small, shape.layers + 2, seed=7, noise=NOISE)
    yield Lineup("15M and the same with noise", {"15m": small, "grown": grown})
    shutil.rmtree(grown)
    foreign = workshop.llama("15m", 3, OTHER)
    yield Lineup("15M and 15M, two vocabularies", {"15m": small, "foreign": foreign})
    yield demo_pair()
    trio = {name: DEMO_MODELS / name for name in ("cleo", "ada", "bora")}
    yield Lineup("ada, bora and cleo", trio, story, is_templated=True)


def show(found: Sequence[Found]) -> None:
    """One line for each line-up, dtype and way to pick."""
    columns = ["", "dtype", "picks", "accepted", "tokens", "diverged", "per 1000"]
    columns += ["owners", "batch: diverged", "batch: per 1000"]
    rows = [
        (one.name, one.dtype, "sampled" if one.sampled else "greedy", one.acceptance)
        + (one.drafts.tokens, one.drafts.diverged, one.drafts.per_1000, one.drafts.owners)
        + (one.batch.diverged, one.batch.per_1000)
        for one in found
    ]
    show_table("Texts that differ with drafts, and in a batch", columns, rows)


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the benchmark."""
    options = parser(__doc__, rounds=1, tokens=128)
    options.add_argument("--texts", type=int, default=24, help="requests of a line-up")
    options.add_argument("--max-tokens", type=int, default=4, help="the most tokens of a draft")
    options = parse(options, arguments)
    options.texts = min(options.texts, 3) if options.quick else options.texts
    decoding = f"{' and '.join(DTYPES)}, greedy and sampled, forced lengths, in this process"
    about = announce("divergence", options, MODELS, decoding)
    with tempfile.TemporaryDirectory() as folder:
        workshop = Workshop(Path(folder), options.quick)
        found = [
            one
            for lineup in lineups(workshop)
            for dtype in DTYPES
            for one in measure(lineup, dtype, options)
        ]
    show(found)
    ratios = {dtype: _share_alike(found, dtype) for dtype in DTYPES}
    named = {f"{dtype}: share of tokens up to a difference": ratios[dtype] for dtype in DTYPES}
    details = [{**asdict(one), "per_1000": one.drafts.per_1000} for one in found]
    return finish(about, named, lineups=details)


def _share_alike(found: Sequence[Found], dtype: str) -> float:
    of_dtype = [one.drafts for one in found if one.dtype == dtype]
    return sum(one.tokens - one.diverged for one in of_dtype) / sum(one.tokens for one in of_dtype)


if __name__ == "__main__":
    main()
