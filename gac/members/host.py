"""A loaded model behind the member's one verb; lives in this process or inside a Ray actor."""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from gac.core import Extend
from gac.errors import MemberError
from gac.members.member import Rows
from gac.model.projection import Projection


class Runner(Protocol):
    """What a host needs of a model runner; a seam for tests without weights."""

    def extend(self, batch: Sequence[Extend]) -> list[Any]:
        """Logits [positions, Vm] of every item, as tensors."""

    def release(self, sequences: Iterable[int]) -> None:
        """Forget these sequences."""


class MemberHost:
    """Runs a batch through the model and answers with rows over the union vocabulary."""

    def __init__(self, name: str, runner: Runner, projection: Projection) -> None:
        self._name = name
        self._runner = runner
        self._projection = projection

    def extend(self, batch: Sequence[Extend]) -> Rows:
        """The rows each item asks for, float32 [rows, V].

        An item for which the model gives numbers that are no distribution gets an error of its own.
        Raises: MemberError naming the member if the batch as a whole cannot be computed.
        """
        try:
            logits = self._runner.extend(batch)
        except MemberError as error:
            raise MemberError(f"member {self._name!r} failed: {error.message}") from error
        return [self._rows(item, of_item) for item, of_item in zip(batch, logits, strict=True)]

    def _rows(self, item: Extend, logits: Any) -> Any:
        project = self._projection.lead_row if item.lead else self._projection.rows
        rows = project(logits).cpu().numpy()
        if not (abs(rows.sum(axis=1) - 1.0) < 1e-2).all():  # NaN fails this, too
            return MemberError(f"member {self._name!r} computed probabilities that do not sum to 1")
        return rows

    def release(self, sequences: Iterable[int]) -> None:
        """Forget these sequences."""
        self._runner.release(sequences)
