"""A member as the engine sees it, in this process or elsewhere."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from gac.core import Answer, Extend
from gac.errors import GacError, MemberError


@dataclass(frozen=True, slots=True)
class MemberFacts:
    """Properties of a loaded model; lengths in its own tokens.

    `weights_bytes` are held all the time, `kv_bytes` at most by the K/V cache when it is full.
    `step_s` is about how many seconds it takes to compute one id of one sequence.
    """

    num_logits: int
    max_context: int
    max_kv_tokens: int
    device: str
    dtype: str
    load_s: float
    step_s: float = 0.0
    weights_bytes: int = 0
    kv_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """A member's answers to a batch; an item that failed alone has an error instead.

    `forward_s` and `row_s` are the seconds it spent in its model, and on rows and drafts.
    """

    answers: list[Answer | MemberError]
    forward_s: float = 0.0
    row_s: float = 0.0


class Member(Protocol):
    """One model with its tokenizer; the engine asks it only to `extend` sequences."""

    @property
    def name(self) -> str:
        """Unique in the ensemble."""

    @property
    def facts(self) -> MemberFacts:
        """Limits of the loaded model."""

    def extend(self, batch: Sequence[Extend]) -> "Future[Reply]":
        """Tell the member what sequences consist of; get the rows that were asked for."""

    def release(self, sequences: Iterable[int]) -> None:
        """Forget these sequences; takes effect after everything asked before."""

    def when_lost(self, tell: Callable[[GacError], None]) -> None:
        """Have `tell` called, on any thread, when the member has died or hangs."""

    def close(self) -> None:
        """Free the model; no call may follow."""
