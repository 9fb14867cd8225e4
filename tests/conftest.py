"""Loaded before any test module, by every worker and by the process that directs them.

Hypothesis reads its profile when tests are defined.  At the end of a run it is said how much the
equality tests compared, and how many ties were met.
"""

from typing import Any

import pytest

from tests.support.comparisons import COMPARED, TIES
from tests.support.examples import register_profiles

register_profiles()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of a parallel run hands over what it counted."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["compared"], output["ties"] = COMPARED, [str(tie) for tie in TIES]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a worker counted."""
    output = getattr(node, "workeroutput", {})
    COMPARED.extend(output.get("compared", ()))
    TIES.extend(output.get("ties", ()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if COMPARED:
        terminalreporter.write_line(
            f"equalities: {len(COMPARED)} texts of {sum(COMPARED)} tokens, {len(TIES)} ties"
        )
    for tie in TIES:
        terminalreporter.write_line(f"  tie: {tie}")
