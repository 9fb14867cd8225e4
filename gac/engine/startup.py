"""Loads the ensemble of a configuration."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Protocol

from gac.config import Config, EngineConfig
from gac.decoding.strategies import StrategyMaker
from gac.decoding.support import TokenOrder
from gac.engine.engine import Engine, Revive
from gac.engine.ensemble import Ensemble
from gac.engine.limits import EngineLimits
from gac.engine.speculation import speculation_for
from gac.errors import MemberError
from gac.members.inbox import Act, Inbox
from gac.members.loader import LoadOrder, Seat, load_order
from gac.members.local import launch_local
from gac.members.member import Member, MemberFacts
from gac.members.placement import RayCluster
from gac.model.templates import MemberTokenizer, load_member_tokenizer
from gac.vocabulary.union import UnionVocabulary, build_union

logger = logging.getLogger(__name__)

Watch = Callable[[str, str, float], None]
"""Called with a member's name, its stage of loading and the share of the stage that is done."""

POLL_S = 0.2
START_WITHIN_S = 60.0
"""A restart takes a few seconds; if its resources are gone, Ray would wait forever."""


class Seedling(Protocol):
    """A member that is still loading."""

    name: str

    def progress(self) -> tuple[str, float]:
        """The stage of loading and the share of it that is done."""

    def loaded(self) -> "Future[MemberFacts]":
        """The facts of the loaded model."""

    def seat(self, seat: Seat) -> Member:
        """The member, once the union vocabulary is known."""

    def close(self) -> None:
        """Give up."""


Stages = Mapping[str, tuple[str, float] | None]
"""By member, the stage of loading and the share of it that is done; None if it has loaded."""


@dataclass(frozen=True, slots=True)
class Patience:
    """When loading is given up.

    `standstill_s`: none of the loading members has made progress for so long.  `start_s`: a member
    is still "starting" so long after its launch; no limit at the first start.
    """

    standstill_s: float
    start_s: float = float("inf")

    def check(self, stages: Stages, elapsed_s: float, still_s: float) -> None:
        """Raise MemberError naming those that hang."""
        loading = {name: stage for name, stage in stages.items() if stage is not None}
        for name, (stage, _) in loading.items():
            if stage == "starting" and elapsed_s > self.start_s:
                raise MemberError(f"member {name!r} did not start within {self.start_s:g} s")
        if loading and still_s > self.standstill_s:
            at = (f"{name!r} ({stage}, {share:.0%})" for name, (stage, share) in loading.items())
            reason = f"no progress for {self.standstill_s:g} s (engine.load_timeout_s)"
            raise MemberError(f"loading members: {', '.join(at)}: {reason}")


@dataclass(frozen=True)
class Started:
    """A loaded ensemble with its tokenizers, and the inbox for its engine."""

    ensemble: Ensemble
    tokenizers: Mapping[str, MemberTokenizer]
    inbox: Inbox = field(default_factory=SimpleQueue[Act])
    relaunch: Callable[[str], Seedling] | None = None
    """Restarts a member by name; None if members live in this process."""


def load_tokenizers(config: Config) -> dict[str, MemberTokenizer]:
    """Every member's tokenizer, checked; raises MemberError or VocabularyError."""
    return {
        member.name: load_member_tokenizer(
            member.name,
            member.path,
            member.revision,
            member.trust_remote_code,
            member.chat_template,
        )
        for member in config.members
    }


def unite(tokenizers: Mapping[str, MemberTokenizer]) -> UnionVocabulary:
    """The union of the members' vocabularies."""
    leading = frozenset(name for name, tokenizer in tokenizers.items() if tokenizer.leads)
    return build_union([tokenizer.vocabulary for tokenizer in tokenizers.values()], leading)


def start_ensemble(config: Config, cluster: RayCluster | None, watch: Watch) -> Started:
    """Load the members, build the union of their vocabularies meanwhile, and set them up for it.

    `cluster` is a started Ray, or none for members in this process.
    Raises: MemberError, VocabularyError or PlacementError; members already started are ended.
    """
    count = len(config.members)
    orders = [load_order(member, config.engine, count) for member in config.members]
    seedlings = _launch(config, orders, cluster)
    try:
        tokenizers = load_tokenizers(config)
        union = unite(tokenizers)
        logger.info("union vocabulary: %d tokens, fingerprint %s", len(union), union.fingerprint)
        _wait(seedlings, watch, Patience(config.engine.load_timeout_s))
        _check_graphs(config.engine, [seedling.loaded().result().device for seedling in seedlings])
        members = {s.name: _seated(s, union, tokenizers[s.name]) for s in seedlings}
    except BaseException:
        for seedling in seedlings:
            seedling.close()
        raise
    vocabularies = {name: tokenizer.vocabulary for name, tokenizer in tokenizers.items()}
    ensemble = Ensemble(members, vocabularies, union, config.weights, config.engine.retokenize)
    if cluster is None:
        return Started(ensemble, tokenizers)
    return Started(ensemble, tokenizers, cluster.inbox, cluster.launch)


def bring_up(started: Started, seedling: Seedling, watch: Watch, load_timeout_s: float) -> Member:
    """The restarted member, set up as before.

    Raises: MemberError, also if it does not start in time; the member is ended then.
    """
    try:
        _wait([seedling], watch, Patience(load_timeout_s, START_WITHIN_S))
        return _seated(seedling, started.ensemble.union, started.tokenizers[seedling.name])
    except BaseException:
        seedling.close()
        raise


def make_engine(
    started: Started,
    settings: EngineConfig,
    make_strategy: StrategyMaker,
    revive: Revive | None = None,
) -> Engine:
    """The engine of a started ensemble; only one, as it receives from all members' sockets."""
    limits = EngineLimits(
        settings.max_sequences,
        settings.max_queued,
        settings.max_batch_tokens,
        settings.prefill_chunk,
    )
    speculation = speculation_for(settings.speculation, started.ensemble.members)
    return Engine(started.ensemble, make_strategy, limits, speculation, started.inbox, revive)


def _launch(
    config: Config, orders: Sequence[LoadOrder], cluster: RayCluster | None
) -> Sequence[Seedling]:
    if cluster is not None:
        return cluster.place(config.members, orders)
    return launch_local(orders)


def _wait(seedlings: Sequence[Seedling], watch: Watch, patience: Patience) -> None:
    """Wait until all have loaded; raises the first error."""
    waiting = list(seedlings)
    stages: Stages = {}
    started_at = moved_at = time.monotonic()
    while waiting:
        before, stages = stages, {seedling.name: _look(seedling, watch) for seedling in waiting}
        waiting = [seedling for seedling in waiting if stages[seedling.name]]
        now = time.monotonic()
        moved_at = moved_at if stages == before else now
        patience.check(stages, now - started_at, now - moved_at)
        time.sleep(POLL_S if waiting else 0.0)


def _look(seedling: Seedling, watch: Watch) -> tuple[str, float] | None:
    """The stage of loading and the share of it that is done; None if it has loaded."""
    if not seedling.loaded().done():
        stage = seedling.progress()
        watch(seedling.name, *stage)
        return stage
    facts = seedling.loaded().result()
    logger.info(
        "%s: loaded in %.1f s, %s on %s, %s of weights, K/V cache of at most %s",
        seedling.name,
        facts.load_s,
        facts.dtype,
        facts.device,
        _gib(facts.weights_bytes),
        _gib(facts.kv_bytes),
    )
    watch(seedling.name, "ready", 1.0)
    return None


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:.3g} GiB"


def _check_graphs(engine: EngineConfig, devices: Sequence[str]) -> None:
    """Warn of graphs that are configured for nobody; what a member cannot record it says itself."""
    if engine.cuda_graphs and not any(device.startswith("cuda") for device in devices):
        where = ", ".join(sorted(set(devices)))
        what = "engine.cuda_graphs: true has no effect: no member runs on a CUDA device"
        logger.warning("%s (they run on %s)", what, where)


def _seated(seedling: Seedling, union: UnionVocabulary, tokenizer: MemberTokenizer) -> Member:
    name = seedling.name
    expected = len(tokenizer.vocabulary.token_bytes)
    if (width := seedling.loaded().result().num_logits) != expected:
        raise MemberError(
            f"member {name!r}: its model gives {width} logits, its config.json says {expected}"
        )
    own_ids = union.own_ids(tokenizer.vocabulary)
    order = TokenOrder(union.rank, union.hashes)
    return seedling.seat(Seat(union.places[name], union.lead_places.get(name), own_ids, order))
