"""A gate member decides alone where its confidence is above a threshold."""

from functools import partial
from typing import Literal

from gac.config.fields import Probability
from gac.config.methods import LeadingMember
from gac.decoding.decide import Decider
from gac.decoding.flow import Commit, Decide, Query, Strategy, together
from gac.decoding.together import Together
from gac.trace import Why

_SURE = partial(together, why=Why.GATE_SURE)
_UNSURE = partial(together, why=Why.GATE_UNSURE)


def threshold_gate(
    gate: str, others: tuple[str, ...], threshold: float, decide: Decide
) -> Strategy:
    """Ask the gate; ask the rest only when the gate is unsure, and decide together.

    A gate that abstains is never sure.  Weights do not enter the comparison.
    Source: GaC (arXiv 2406.12585) section 3.4, eq. (5).
    """
    while True:
        rows, explain = list((yield Query((gate,), until=threshold))), _SURE
        if not any(row.confidence > threshold for row in rows):
            rows, explain = [*rows, *(yield Query(others))], _UNSURE
        yield Commit(rows, decide, explain)


def threshold_replace(
    gate: str, others: tuple[str, ...], threshold: float, decide: Decide
) -> Strategy:
    """As `threshold_gate`, but where the gate is unsure the others decide without it.

    Source: GaC (arXiv 2406.12585) section 4.6: members of very unequal strength are not averaged.
    """
    while True:
        rows, explain = (yield Query((gate,), until=threshold)), _SURE
        if not any(row.confidence > threshold for row in rows):
            rows, explain = (yield Query(others)) or rows, _UNSURE
        yield Commit(rows, decide, explain)


class ThresholdConfig(Together):
    """The `gate` is asked first, the others only where its confidence is not above `threshold`.

    `below` says who then decides: `ensemble` all members, `replace` the others without the gate.
    """

    name: Literal["threshold"] = "threshold"
    gate: LeadingMember
    threshold: Probability = 0.5
    below: Literal["ensemble", "replace"] = "ensemble"

    def contradiction(self, num_members: int) -> tuple[str, str] | None:
        if num_members == 1 and self.below == "replace":
            return "below", "'replace' needs a second member, to replace the gate"
        return None

    def start(self, members: tuple[str, ...], decide: Decider) -> Strategy:
        others = tuple(name for name in members if name != self.gate)
        gated = threshold_replace if self.below == "replace" else threshold_gate
        return gated(self.gate, others, self.threshold, decide)
