"""What the engine knows of a member, near or far."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from gac.core import Extend, Probs
from gac.errors import GacError, MemberError


@dataclass(frozen=True, slots=True)
class MemberFacts:
    """What a member tells of itself once its model is loaded; lengths in its own tokens."""

    num_logits: int
    max_context: int
    max_kv_tokens: int
    device: str
    dtype: str
    load_s: float


Rows = list[Probs | MemberError]
"""Per item of a batch: float32 [rows, V], or why this item alone has none."""


class Member(Protocol):
    """One model with its tokenizer, as the engine sees it: one verb, `extend`."""

    @property
    def name(self) -> str:
        """Unique in the ensemble."""

    @property
    def facts(self) -> MemberFacts:
        """Limits of the loaded model."""

    def extend(self, batch: Sequence[Extend]) -> "Future[Rows]":
        """Tell the member what sequences consist of; get the rows that were asked for."""

    def release(self, sequences: Iterable[int]) -> None:
        """Forget these sequences; takes effect after everything asked before."""

    def when_lost(self, tell: Callable[[GacError], None]) -> None:
        """Have `tell` called, on any thread, when the member has died."""

    def close(self) -> None:
        """Let go of the model; nothing may be asked afterwards."""
