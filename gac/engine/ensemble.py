"""Members, vocabularies and weights as one frozen value: what an engine works with."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gac.core import GenerateRequest
from gac.decoding.support import TokenOrder
from gac.members.member import Member, MemberFacts
from gac.vocabulary.member_vocabulary import MemberVocabulary
from gac.vocabulary.retokenize import MemberContext, Rule
from gac.vocabulary.union import UnionVocabulary

CPU_CATCH_UP_IDS = 32
GPU_CATCH_UP_IDS = 128
CPU_PREFILL_IDS = 64
GPU_PREFILL_IDS = 512


@dataclass(frozen=True, slots=True)
class Portions:
    """How much a member holds, and how much it computes at a time."""

    capacity: int
    """Slots for keys and values."""
    catch_up_ids: int
    """So many it may lag behind a gate before it computes them while idle."""
    prefill_ids: int
    """At most so many of a prompt at a time while other sequences decode."""


def _portions(facts: MemberFacts, prefill_ids: int) -> Portions:
    """By device, where nothing is configured.

    On a CPU a long chunk takes as long as many steps, so it is better begun early, and holds a
    neighbour that decodes up for long; but many short ones take memory bandwidth from the gate (15M
    beside 110M, one noisy run: 21.0, 23.6, 18.9 ms a token by 8, 16, 32 ids at a time).
    A GPU that waits for its memory should take a chunk nearly as a step (a guess, not measured
    yet), and unasked work might slow a gate that shares it.
    """
    if facts.device == "cpu":
        return Portions(facts.max_kv_tokens, CPU_CATCH_UP_IDS, prefill_ids or CPU_PREFILL_IDS)
    return Portions(facts.max_kv_tokens, GPU_CATCH_UP_IDS, prefill_ids or GPU_PREFILL_IDS)


@dataclass(frozen=True)
class Ensemble:
    """The members by name, with what each spells and how much each counts.

    `weights` sum to 1; `rule` says how members follow text they did not pick.
    """

    members: Mapping[str, Member]
    vocabularies: Mapping[str, MemberVocabulary]
    union: UnionVocabulary
    weights: Mapping[str, float]
    rule: Rule
    order: TokenOrder = field(init=False)
    """What sampling needs of the union."""

    def __post_init__(self) -> None:
        """Build now what the first request would wait for."""
        union = self.union
        order = TokenOrder(union.rank, union.hashes, union.prefix_ends)
        object.__setattr__(self, "order", order)

    def portions(self, prefill_ids: int | None) -> dict[str, Portions]:
        """How much each member holds and computes at a time; `prefill_ids` as configured, if so."""
        return {
            name: _portions(member.facts, prefill_ids or 0) for name, member in self.members.items()
        }

    def context_limit(self, member: str) -> int:
        """The most ids a sequence may have at a member: its context, or its whole K/V memory."""
        facts = self.members[member].facts
        return min(facts.max_context, facts.max_kv_tokens)

    def contexts_for(self, request: GenerateRequest) -> dict[str, MemberContext]:
        """A context for every member that has a prompt, in the order of the members."""
        forced = request.forced
        return {
            name: MemberContext.start(
                self.vocabularies[name],
                self.rule,
                request.prompts[name],
                forced.own_ids if name == forced.member else (),
            )
            for name in self.members
            if name in request.prompts
        }

    def limits_for(self, request: GenerateRequest) -> dict[str, int]:
        """The most ids a request's sequence may have at each member: also its own `max_length`."""
        own = request.max_length
        limits = {name: self.context_limit(name) for name in request.prompts}
        return limits if own is None else {name: min(n, own) for name, n in limits.items()}
