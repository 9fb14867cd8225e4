"""All members decide every token."""

from gac.decoding.flow import Commit, Decide, Query, Strategy


def every_step(members: tuple[str, ...], decide: Decide) -> Strategy:
    """Ask everybody, commit, again.  Source: GaC (arXiv 2406.12585) section 3.3, eq. (3)."""
    while True:
        rows = yield Query(members)
        yield Commit((decide(rows),))
