"""One member's row decides for all."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal

from gac.config.methods import AggregationConfig, NamedMember
from gac.core import Row
from gac.decoding.combine import Aggregate, Vote, arithmetic


def replace(rows: Sequence[Row], weights: Mapping[str, float], by: str) -> Vote:
    """The row of the member `by`; where it gave none, the weighted mean of the others.

    Source: GaC (arXiv 2406.12585) section 4.6: a strong model replaces a weak gate.
    """
    return arithmetic([row for row in rows if row.member == by] or rows, weights)


class ReplaceConfig(AggregationConfig):
    """The distribution of the member `by`; the others do not count."""

    name: Literal["replace"] = "replace"
    is_normalised = True
    by: NamedMember

    def function(self, main: str | None, order: object) -> Aggregate:
        return partial(replace, by=self.by)
