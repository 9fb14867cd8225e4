"""What is told of how a token came about, to those who ask: frozen values, as in `core`."""

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """How a token came about."""

    ENSEMBLED = "ensembled"
    """From the rows of several members."""
    ALONE = "alone"
    """From one member's row."""
    DRAFTED = "drafted"
    """A member wrote it by itself, and the others let it through."""
    REPLACED = "replaced"
    """From the rows of several members, in place of a token that was rejected."""


class Why(StrEnum):
    """Why it came about so."""

    ALL_ASKED = "all_asked"
    """All who were to be asked gave a row."""
    ONLY_ONE = "only_one"
    """Nobody else writes, or can."""
    GATE_SURE = "gate_sure"
    GATE_UNSURE = "gate_unsure"
    DRAWN = "drawn"
    """The member was drawn (mixture)."""
    UNANIMOUS = "unanimous"
    """Every verifier's own token is its favourite."""
    CONSENSUS = "consensus"
    """The mean probability of the members' own tokens is above the cut."""
    NO_CONSENSUS = "no_consensus"
    EXTRA_GATE = "extra_gate"
    """The drafter is sure."""
    NOT_ALIGNED = "not_aligned"
    """A verifier's tokens do not meet the drafter's here."""
    UNVERIFIED = "unverified"
    """No verifier that has a say can spell the text."""
    CONFLICT_GUARD = "conflict_guard"
    """The ensemble's token and the anchor's begin alike, and the anchor's is kept."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A token that a member might have written, and its probability; without bytes it is END."""

    token: bytes
    probability: float


@dataclass(frozen=True, slots=True)
class CombinedCandidate:
    """A token's value in the combined distribution, which need not sum to 1.

    It lies from `value` to `at_most`: not every row lists every token.
    """

    token: bytes
    value: float
    at_most: float


@dataclass(frozen=True, slots=True)
class MemberTrace:
    """A member that gave a row: its share of the say in this token, and its best tokens."""

    member: str
    weight: float
    confidence: float
    top: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class VerdictTrace:
    """What a verifier thinks of its own token there; both None where it has none (not aligned)."""

    member: str
    agrees: bool | None
    probability: float | None


@dataclass(frozen=True, slots=True)
class TokenTrace:
    """How one token came about.

    `combined` are the best tokens of the distribution it was picked from; for a draft that is the
    drafter's own.  `agreement` is the share of those who gave a row or a verdict whose favourite
    was the token, as they would have written it.  `rejected` is the token it was put in place of.
    """

    outcome: Outcome
    why: Why
    agreement: float
    members: tuple[MemberTrace, ...]
    combined: tuple[CombinedCandidate, ...]
    verdicts: tuple[VerdictTrace, ...] = ()
    rejected: bytes | None = None
