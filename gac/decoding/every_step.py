"""All members decide every token."""

from typing import Literal

from gac.decoding.decide import Decider
from gac.decoding.flow import Commit, Decide, Query, Strategy
from gac.decoding.together import Together


def every_step(members: tuple[str, ...], decide: Decide) -> Strategy:
    """Ask everybody, commit, again.  Source: GaC (arXiv 2406.12585) section 3.3, eq. (3)."""
    until = 0.0 if len(members) == 1 else None  # one member alone may go on by itself
    while True:
        rows = yield Query(members, until)
        yield Commit(rows, decide)


class EveryStepConfig(Together):
    """All members compute every token."""

    name: Literal["every_step"] = "every_step"

    def start(self, members: tuple[str, ...], decide: Decider) -> Strategy:
        return every_step(members, decide)
