"""Says at the end of a run how much was compared, and how many ties were met."""

import pytest

from tests.support.oracle import COMPARED, TIES


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if COMPARED:
        terminalreporter.write_line(
            f"equalities: {len(COMPARED)} texts of {sum(COMPARED)} tokens, {len(TIES)} ties"
        )
    for tie in TIES:
        terminalreporter.write_line(f"  tie: {tie}")
