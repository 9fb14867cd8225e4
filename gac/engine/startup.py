"""From a configuration to an ensemble whose members have loaded."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from gac.config import Config
from gac.engine.ensemble import Ensemble
from gac.errors import MemberError
from gac.members.loader import LoadOrder, Seat, load_order
from gac.members.local import launch_local
from gac.members.member import Member, MemberFacts
from gac.members.placement import RayCluster
from gac.model.templates import MemberTokenizer, load_member_tokenizer
from gac.vocabulary.union import UnionVocabulary, build_union

logger = logging.getLogger(__name__)

Watch = Callable[[str, str, float], None]
"""Told a member's name, its stage of loading and the share of it that is done."""

POLL_S = 0.2


class Seedling(Protocol):
    """A member that is still loading."""

    name: str

    def progress(self) -> tuple[str, float]:
        """The stage of loading and the share of it that is done."""

    def loaded(self) -> "Future[MemberFacts]":
        """What the member tells of itself, as soon as it can."""

    def seat(self, seat: Seat) -> Member:
        """The member, once the union vocabulary is known."""

    def close(self) -> None:
        """Give up."""


@dataclass(frozen=True)
class Started:
    """An ensemble at work, and what turns conversations into its prompts."""

    ensemble: Ensemble
    tokenizers: Mapping[str, MemberTokenizer]


def load_tokenizers(config: Config) -> dict[str, MemberTokenizer]:
    """Every member's tokenizer, checked; raises MemberError or VocabularyError."""
    return {
        member.name: load_member_tokenizer(
            member.name, member.path, member.revision, member.trust_remote_code
        )
        for member in config.members
    }


def unite(tokenizers: Mapping[str, MemberTokenizer]) -> UnionVocabulary:
    """The union of the members' vocabularies."""
    leading = frozenset(name for name, tokenizer in tokenizers.items() if tokenizer.leads)
    return build_union([tokenizer.vocabulary for tokenizer in tokenizers.values()], leading)


def start_ensemble(config: Config, cluster: RayCluster | None, watch: Watch) -> Started:
    """Load the members, unite their vocabularies meanwhile, and seat them.

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
        _wait(seedlings, watch)
        members = {s.name: _seated(s, union, tokenizers[s.name]) for s in seedlings}
    except BaseException:
        for seedling in seedlings:
            seedling.close()
        raise
    vocabularies = {name: tokenizer.vocabulary for name, tokenizer in tokenizers.items()}
    ensemble = Ensemble(members, vocabularies, union, config.weights, config.engine.retokenize)
    return Started(ensemble, tokenizers)


def _launch(
    config: Config, orders: Sequence[LoadOrder], cluster: RayCluster | None
) -> Sequence[Seedling]:
    if cluster is not None:
        return cluster.place(config.members, orders)
    return launch_local(orders)


def _wait(seedlings: Sequence[Seedling], watch: Watch) -> None:
    """Until all have loaded; raises the first error."""
    waiting = list(seedlings)
    while waiting:
        for seedling in list(waiting):
            if seedling.loaded().done():
                facts = seedling.loaded().result()
                logger.info(
                    "%s: loaded in %.1f s, %s on %s",
                    seedling.name,
                    facts.load_s,
                    facts.dtype,
                    facts.device,
                )
                watch(seedling.name, "ready", 1.0)
                waiting.remove(seedling)
            else:
                watch(seedling.name, *seedling.progress())
        time.sleep(POLL_S if waiting else 0.0)


def _seated(seedling: Seedling, union: UnionVocabulary, tokenizer: MemberTokenizer) -> Member:
    name = seedling.name
    expected = len(tokenizer.vocabulary.token_bytes)
    if (width := seedling.loaded().result().num_logits) != expected:
        raise MemberError(
            f"member {name!r}: its model gives {width} logits, its config.json says {expected}"
        )
    return seedling.seat(Seat(union.places[name], len(union), union.lead_places.get(name)))
