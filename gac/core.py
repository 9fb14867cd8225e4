"""The values everybody speaks in: rows, picks, requests and events.

All frozen and picklable, so that they can cross a thread, a process or a machine.  Knows nothing
of tokenizers, models, Ray or HTTP.  Shape letters, the same everywhere: B sequences, T positions,
M members, V union vocabulary, Vm a member's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from gac.config.methods import StrategyConfig
from gac.trace import Candidate, TokenTrace

END = 0
"""The union id that every member's stop ids map to."""

Ids = NDArray[np.int32]
Probs = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Entries:
    """Entries of one distribution over the union vocabulary; where they are not all, the largest.

    `ids` int32 [K] are union ids, in any order, and `probs` float32 [K] their probabilities in the
    full distribution.  No other id has more than `bound`, which is 0 where nothing is missing.
    """

    ids: Ids
    probs: Probs
    bound: float = 0.0

    @property
    def is_complete(self) -> bool:
        """Whether every id that is not listed has probability 0."""
        return self.bound == 0.0

    @property
    def rest(self) -> float:
        """The probability of everything not listed, as far as float32 can tell."""
        return max(0.0, 1.0 - float(self.probs.sum(dtype=np.float64)))


@dataclass(frozen=True, slots=True)
class Row:
    """One member's distribution at one position, which counts committed tokens from 0."""

    member: str
    position: int
    entries: Entries

    @property
    def confidence(self) -> float:
        """The largest entry of the distribution; at most 1, so that no threshold of 1 is passed."""
        return min(1.0, float(self.entries.probs.max()))


def dense_entries(probs: Probs) -> Entries:
    """All entries of a distribution given by union id, float32 [V]."""
    return Entries(np.arange(probs.size, dtype=np.int32), probs)


@dataclass(frozen=True, slots=True)
class Pick:
    """A union id picked from members' rows, and the members that own it."""

    position: int
    token: int
    owners: tuple[str, ...]
    """The asked members whose weight x probability of the token is largest; ties: all."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How one token is drawn; temperature 0 is greedy; the `choice`s of a prompt draw apart."""

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int = 0
    choice: int = 0


@dataclass(frozen=True, slots=True)
class Penalties:
    """What changes the logits of tokens before one is picked; by default, nothing.

    A logit is the logarithm of a token's combined probability.  It is multiplied by `repetition` if
    the token is in the answer or in a prompt; `presence` is taken off if it is in the answer, and
    `frequency` as often as it is there; `bias`, by union id, is added.
    """

    presence: float = 0.0
    frequency: float = 0.0
    repetition: float = 1.0
    bias: Mapping[int, float] = field(default_factory=dict)

    @property
    def is_neutral(self) -> bool:
        """Whether nothing is changed."""
        others = (self.presence, self.frequency, *self.bias.values())
        return self.repetition == 1.0 and not any(others)


@dataclass(frozen=True, slots=True)
class Draft:
    """Asks a member to draft: pick a token from its own row, append its own id, and so on.

    It stops after `max_tokens`, at END, or where its confidence is not above `until`; `position` is
    that of the first token.  The engine accepts or drops what it writes.
    (A strategy's step of this name, in `gac.decoding.flow`, is carried out with such messages.)
    """

    max_tokens: int
    until: float
    sampling: Sampling
    position: int


@dataclass(frozen=True, slots=True)
class Extend:
    """What a member is told of one sequence, and which distributions are wanted back.

    The sequence now consists of the first `kept` ids it was last told, followed by `tail`.  Every
    entry p of `positions` (1 <= p <= kept + len(tail)) asks for the distribution after the first p
    ids; the first `num_endless` of them, drafted ones included, given that the text goes on.
    With `lead`, positions are one or two: before and after a dummy space at the start of a reply,
    answered by one row that is mapped without it.  A row lists its largest entries and those of
    `entries` (union ids), or all of them if `dense`.
    """

    sequence: int
    kept: int
    tail: tuple[int, ...]
    positions: tuple[int, ...]
    lead: bool = False
    num_endless: int = 0
    dense: bool = False
    entries: tuple[int, ...] = ()
    draft: Draft | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a member gives for one `Extend`.

    One row for each of its positions (or for the lead), then one for each id `written` by itself.
    Rows behind the first are left out from where the model's numbers are no distribution.
    """

    rows: tuple[Entries, ...] = ()
    written: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation as one member reads it; `lead`: its reply starts with a dummy space."""

    ids: tuple[int, ...]
    lead: bool = False


@dataclass(frozen=True, slots=True)
class Forced:
    """The first tokens of a text, given instead of picked: they are scored as if they had been.

    `tokens` are union ids, none of them END.  `member` takes them in under its own ids in
    `own_ids`, and owns each beside those that would own it if it had been picked.  `begun` are the
    bytes in front of them that are no whole character yet.
    """

    tokens: tuple[int, ...] = ()
    member: str | None = None
    own_ids: tuple[int, ...] = ()
    begun: bytes = b""


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """One text to write: what goes into the engine.

    The members in `prompts` write it.  Without a `strategy`, or without `weights`, the engine's own
    apply.  With a `trace` above 0 every token has a trace that lists so many candidates.  With
    `logprobs` (0 or more) every token has a likelihood that lists so many tokens.
    The first TokenEvents are those of the `forced` tokens.  Stop strings, limits on tokens, traces
    and counts of tokens concern only what is written after these.
    """

    request_id: str
    prompts: Mapping[str, Prompt]
    max_new_tokens: int
    max_length: int | None = None
    min_new_tokens: int = 0
    ignore_eos: bool = False
    stop: tuple[str, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)
    penalties: Penalties = field(default_factory=Penalties)
    strategy: StrategyConfig | None = None
    weights: Mapping[str, float] | None = None
    trace: int = 0
    logprobs: int | None = None
    forced: Forced = Forced()

    @property
    def num_forced(self) -> int:
        """How many tokens at the beginning are given."""
        return len(self.forced.tokens)

    @property
    def most_tokens(self) -> int:
        """How many tokens the text may have, forced ones included."""
        return self.num_forced + self.max_new_tokens

    def num_endless(self, num_tokens: int) -> int:
        """For how many tokens behind so many the text must not end; 0 if forced ones are left."""
        if num_tokens < self.num_forced:
            return 0
        least = self.max_new_tokens if self.ignore_eos else self.min_new_tokens
        return max(0, self.num_forced + least - num_tokens)


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How probable a token was in the distribution it was picked from, and what else was.

    Before temperature, cuts and penalties; normalised where an aggregation's values do not sum to
    1.  `top` are the most probable tokens, best first, ties by bytes; END has no bytes.
    """

    probability: float
    top: tuple[Candidate, ...] = ()


class FinishReason(StrEnum):
    """Why a sequence ended."""

    STOP = "stop"
    LENGTH = "length"
    ABORT = "abort"


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """One committed token: its bytes, and the text that became visible with it (maybe none).

    `num_shown` counts the tokens of the sequence so far whose bytes are all visible; like
    `likelihood`, it is there if the request asks for `logprobs`.  `at` is when the token was
    committed, by `time.monotonic`.
    """

    request_id: str
    pick: Pick
    asked: tuple[str, ...]
    token_bytes: bytes
    text: str
    trace: TokenTrace | None = None
    likelihood: Likelihood | None = None
    num_shown: int = 0
    at: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class FinishEvent:
    """The end of a sequence: the text that was still held back, why it ended, and what it took.

    `asked`, `trace` and `likelihood` are of END, where END was picked.  `num_shown` counts the
    tokens that begin in the text as it is shown, i.e. before a stop string.  `admitted_at` is when
    members could first work on it (None: never) and `at` when it ended, by `time.monotonic`.
    """

    request_id: str
    text: str
    reason: FinishReason
    prompt_tokens: Mapping[str, int]
    completion_tokens: int
    ensembled_tokens: int
    abstained: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    trace: TokenTrace | None = None
    likelihood: Likelihood | None = None
    num_shown: int = 0
    admitted_at: float | None = field(default=None, compare=False)
    at: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class ErrorEvent:
    """The sequence could not be finished."""

    request_id: str
    error: Exception


Event = TokenEvent | FinishEvent | ErrorEvent
