"""How many tokens a drafter writes ahead before the others score them all in one pass.

Every token is still picked from all members' rows, so the text does not depend on it, but for ties
that float32 rounds differently.  k is the number with the most expected tokens per second, from the
recent acceptance rate and durations of passes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gac.config import SpeculationConfig
from gac.core import Answer, Extend
from gac.members.member import Member, Reply

_MEMORY = 0.9
"""Share of an average that one more measurement leaves."""
_PROBE_AFTER = 8
_PROBE_LIMIT = 128


@dataclass(slots=True)
class Pace:
    """Seconds that a member's passes take: one id a sequence, and what each further id adds."""

    step_s: float = 0.0
    further_s: float = 0.0

    def note(self, num_ids: int, seconds: float) -> None:
        """Learn from a pass in which the longest item had so many ids."""
        if num_ids == 1:
            self.step_s = _averaged(self.step_s, seconds)
        elif self.step_s:
            each = max(0.0, seconds - self.step_s) / (num_ids - 1)
            self.further_s = _averaged(self.further_s, each)

    def seconds(self, num_ids: int) -> float:
        """How long a pass over so many ids should take."""
        return self.step_s + self.further_s * (num_ids - 1)


def _averaged(average: float, value: float) -> float:
    return _MEMORY * average + (1.0 - _MEMORY) * value if average else value


@dataclass
class Speculation:
    """What all sequences of an engine share: the drafter, the bound on k, everybody's pace."""

    drafter: str
    max_tokens: int
    paces: Mapping[str, Pace]
    acceptance: float = 0.7  # until drafts tell
    num_drafted: int = 0
    num_accepted: int = 0

    def gain(self, num_tokens: int, acceptance: float, verifiers: Iterable[str]) -> float:
        """Expected tokens per second, relative; drafting nothing, all members work at once."""
        draft_s = self.paces[self.drafter].step_s
        scoring_s = max(self.paces[name].seconds(num_tokens + 1) for name in verifiers)
        if num_tokens == 0:
            return 1.0 / max(draft_s, scoring_s, 1e-9)
        expected = sum(acceptance**n for n in range(num_tokens + 1))
        return expected / max((num_tokens + 1) * draft_s + scoring_s, 1e-9)

    def note(self, member: str, batch: Sequence[Extend], reply: Reply) -> None:
        """Learn how long a member's pass takes, from a batch that has no prefill in it."""
        passes = 1 + max(
            (len(a.written) for a in reply.answers if isinstance(a, Answer)), default=0
        )
        num_ids = max(len(item.tail) for item in batch) if passes == 1 else 1
        if 1 <= num_ids <= self.max_tokens + 1:
            self.paces[member].note(num_ids, (reply.forward_s + reply.row_s) / passes)


def speculation_for(config: SpeculationConfig, members: Mapping[str, Member]) -> Speculation | None:
    """What a configuration asks for among these members, `auto` being the fastest of them."""
    if config.drafter == "none" or len(members) < 2:
        return None
    paces = {name: Pace(member.facts.step_s) for name, member in members.items()}
    fastest = min(members, key=lambda name: paces[name].step_s)
    return Speculation(
        fastest if config.drafter == "auto" else config.drafter, config.max_tokens, paces
    )


def drafts_for(speculation: Speculation | None, members: tuple[str, ...]) -> "Drafts | None":
    """What a sequence with these members needs to speculate, if it may."""
    if speculation is None or speculation.drafter not in members or len(members) < 2:
        return None
    return Drafts(speculation, tuple(name for name in members if name != speculation.drafter))


@dataclass
class Drafts:
    """One sequence's drafts: whether they are accepted, and so how long the next one is."""

    shared: Speculation
    verifiers: tuple[str, ...]
    acceptance: float = field(init=False)
    _idle: int = 0
    _patience: int = _PROBE_AFTER

    def __post_init__(self) -> None:
        self.acceptance = self.shared.acceptance

    def choose(self, room: int) -> int:
        """How many tokens to draft now; where drafts do not pay, one is tried now and then."""
        most = min(self.shared.max_tokens, room)
        gains = [self._gain(count) for count in range(max(most, 0) + 1)]
        best = max(range(len(gains)), key=gains.__getitem__)
        if best or most < 1:
            return best
        self._idle += 1
        if self._idle <= self._patience:
            return 0
        self._idle, self._patience = 0, min(2 * self._patience, _PROBE_LIMIT)
        return 1

    def _gain(self, num_tokens: int) -> float:
        return self.shared.gain(num_tokens, self.acceptance, self.verifiers)

    def note(self, accepted: bool) -> None:
        """Learn whether the ensemble picked what was drafted."""
        shared = self.shared
        shared.num_drafted += 1
        shared.num_accepted += accepted
        self.acceptance = _MEMORY * self.acceptance + (1.0 - _MEMORY) * accepted
        shared.acceptance = 0.99 * shared.acceptance + 0.01 * accepted
        if accepted:
            self._patience = _PROBE_AFTER
