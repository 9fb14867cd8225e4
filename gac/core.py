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

END = 0
"""The union id that every member's stop ids map to."""

Probs = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Row:
    """One member's distribution over the union vocabulary at one position.

    `position` counts committed tokens: row 0 says how the answer begins.  `probs` is float32 [V]
    and sums to 1.
    """

    member: str
    position: int
    probs: Probs

    @property
    def confidence(self) -> float:
        """The largest entry of the distribution."""
        return float(self.probs.max())

    def without_end(self) -> "Row":
        """The distribution given that the text goes on; uniform where END was all there was."""
        probs = self.probs.copy()
        probs[END] = 0.0
        total = float(probs.sum(dtype=np.float64))
        if total > 0.0:
            probs /= np.float32(total)
        else:
            probs[:] = np.float32(1.0 / (probs.size - 1))
            probs[END] = 0.0
        return Row(self.member, self.position, probs)


@dataclass(frozen=True, slots=True)
class Pick:
    """A union id picked from members' rows, and who stood behind it."""

    position: int
    token: int
    owners: tuple[str, ...]
    """The asked members whose weight x probability of the token is largest; exact ties: all."""


@dataclass(frozen=True, slots=True)
class Extend:
    """What a member is told of one sequence, and which distributions are wanted back.

    The sequence now consists of the first `kept` ids it was last told, followed by `tail`.  Every
    entry p of `positions` (1 <= p <= kept + len(tail)) asks for the distribution after the first p
    ids.  With `lead`, positions are one or two: before and after a dummy space at the start of a
    reply, answered by one row that is mapped without it.
    """

    sequence: int
    kept: int
    tail: tuple[int, ...]
    positions: tuple[int, ...]
    lead: bool = False


@dataclass(frozen=True, slots=True)
class Sampling:
    """How one token is drawn from the combined distribution; temperature 0 is greedy."""

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int = 0
    choice: int = 0


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation as one member reads it; `lead`: its reply starts with a dummy space."""

    ids: tuple[int, ...]
    lead: bool = False


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """One text to write: what goes into the engine."""

    request_id: str
    prompts: Mapping[str, Prompt]
    max_new_tokens: int
    max_length: int | None = None
    min_new_tokens: int = 0
    ignore_eos: bool = False
    stop: tuple[str, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)


class FinishReason(StrEnum):
    """Why a sequence ended."""

    STOP = "stop"
    LENGTH = "length"
    ABORT = "abort"


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """One committed token: its bytes, and the text that became visible with it (maybe none)."""

    request_id: str
    pick: Pick
    asked: tuple[str, ...]
    token_bytes: bytes
    text: str


@dataclass(frozen=True, slots=True)
class FinishEvent:
    """The end of a sequence: the text that was still held back, why it ended, and what it took."""

    request_id: str
    text: str
    reason: FinishReason
    prompt_tokens: Mapping[str, int]
    completion_tokens: int
    ensembled_tokens: int
    abstained: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ErrorEvent:
    """The sequence could not be finished."""

    request_id: str
    error: Exception


Event = TokenEvent | FinishEvent | ErrorEvent
