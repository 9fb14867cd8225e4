"""All members decide every token."""

from gac.decoding.flow import Commit, Decide, Query, Strategy


def every_step(members: tuple[str, ...], decide: Decide) -> Strategy:
    """Ask everybody, commit, again.  Source: GaC (arXiv 2406.12585) section 3.3, eq. (3)."""
    until = 0.0 if len(members) == 1 else None  # one member alone may go on by itself
    while True:
        rows = yield Query(members, until)
        yield Commit(rows, decide)
