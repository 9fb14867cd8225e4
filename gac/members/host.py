"""Answers batches with a loaded model, in this process or inside a Ray actor."""

import logging
import time
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from gac.core import Entries, Extend
from gac.errors import MemberError
from gac.members.drafting import Drafter, Writing
from gac.members.member import Reply
from gac.model.listing import Lister

logger = logging.getLogger(__name__)

Listed = list[Entries] | MemberError


class Runner(Protocol):
    """The part of a model runner that a host uses; tests replace it."""

    def extend(self, batch: Sequence[Extend]) -> list[Any]:
        """Logits [positions, Vm] of every item, as tensors, or a MemberError in their place."""

    def release(self, sequences: Iterable[int]) -> None:
        """Forget these sequences."""


class MemberHost:
    """Runs a batch through the model and answers with rows over the union vocabulary."""

    def __init__(self, name: str, runner: Runner, lister: Lister, drafter: Drafter) -> None:
        self._name = name
        self._runner = runner
        self._lister = lister
        self._drafter = drafter
        self._forward_s = 0.0

    def extend(self, batch: Sequence[Extend]) -> Reply:
        """The rows that each item asks for, and its draft where the item allows one.

        An item that is impossible, or whose logits are not finite, gets an error of its own.
        Drafts are written only if every item of the batch allows one, so that no other item waits.
        Raises: MemberError naming the member if the batch as a whole cannot be computed.
        """
        started, self._forward_s = time.perf_counter(), 0.0
        self._lister.forget(item.sequence for item in batch if item.tail)
        listed = self._rows(batch)
        writings = [Writing(item, rows) for item, rows in zip(batch, listed, strict=True)]
        if all(item.draft is not None for item in batch):
            self._write_ahead(writings)
        answers = [writing.answer() for writing in writings]
        row_s = time.perf_counter() - started - self._forward_s
        return Reply(answers, self._forward_s, row_s)

    def _write_ahead(self, writings: Sequence[Writing]) -> None:
        """Extend the drafts of all sequences together, until each has stopped.

        If the model fails, the draft is what was written so far.
        """
        while True:
            going = [one for one in writings if self._drafter.goes_on(one, self._lister)]
            if not going:
                return
            listed: list[Listed]
            try:
                listed = self._rows([one.last for one in going])
            except MemberError as error:
                logger.warning("a draft stopped early because of an error: %s", error.message)
                listed = [error] * len(going)
            for one, rows in zip(going, listed, strict=True):
                one.take(rows)

    def _rows(self, items: Sequence[Extend]) -> list[Listed]:
        """The rows of items; if an item adds no ids, those that the lister still has."""
        recalled = [self._lister.recall(item) for item in items]
        fresh = [item for item, rows in zip(items, recalled, strict=True) if rows is None]
        computed = iter(self._computed(fresh) if fresh else ())
        return [next(computed) if rows is None else rows for rows in recalled]

    def _computed(self, items: Sequence[Extend]) -> list[Listed]:
        started = time.perf_counter()
        try:
            found = self._runner.extend(items)
        except MemberError as error:
            raise self._named(error) from error
        self._forward_s += time.perf_counter() - started  # on a GPU: until the kernels are launched
        pairs = zip(items, found, strict=True)
        sound = [(item, logits) for item, logits in pairs if not isinstance(logits, MemberError)]
        rows = iter(self._lister.rows([item for item, _ in sound], [one for _, one in sound]))
        return [
            self._named(logits) if isinstance(logits, MemberError) else next(rows)
            for logits in found
        ]

    def _named(self, error: MemberError) -> MemberError:
        return MemberError(f"member {self._name!r} failed: {error.message}")

    def release(self, sequences: Iterable[int]) -> None:
        """Forget these sequences."""
        sequences = tuple(sequences)
        self._lister.forget(sequences)
        self._runner.release(sequences)
