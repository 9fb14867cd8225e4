"""A gate member decides alone while it is sure."""

from gac.decoding.flow import Commit, Decide, Query, Strategy


def threshold_gate(
    gate: str, others: tuple[str, ...], threshold: float, decide: Decide
) -> Strategy:
    """Ask the gate; ask the rest only when the gate is unsure, and decide together.

    A gate that abstains is never sure.  Weights do not enter the comparison.
    Source: GaC (arXiv 2406.12585) section 3.4, eq. (5).
    """
    while True:
        rows = list((yield Query((gate,), until=threshold)))
        if not any(row.confidence > threshold for row in rows):
            rows += yield Query(others)
        yield Commit(rows, decide)


def threshold_replace(
    gate: str, others: tuple[str, ...], threshold: float, decide: Decide
) -> Strategy:
    """As `threshold_gate`, but where the gate is unsure the others decide without it.

    Source: GaC (arXiv 2406.12585) section 4.6: members of very unequal strength are not averaged.
    """
    while True:
        rows = yield Query((gate,), until=threshold)
        if not any(row.confidence > threshold for row in rows):
            rows = (yield Query(others)) or rows
        yield Commit(rows, decide)
