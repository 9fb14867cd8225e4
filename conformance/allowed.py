"""Which tests of a public suite need not pass, each with a reason, held against what happened."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml


@dataclass(frozen=True)
class Excepted:
    """Tests that need not pass, and why; a name stands for itself and for all its parameters."""

    reason: str
    tests: Sequence[str]

    def covers(self, test: str) -> bool:
        """Whether a test is meant."""
        return any(test == name or test.startswith(f"{name}[") for name in self.tests)


@dataclass
class Verdict:
    """What a suite did: tests that passed as they must, and the surprises."""

    passed: list[str] = field(default_factory=list)
    excepted: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    passed_unexpectedly: list[str] = field(default_factory=list)
    never_ran: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether all happened as the list says."""
        return bool(self.passed) and not (self.failed or self.passed_unexpectedly or self.never_ran)


def read_exceptions(path: Path) -> list[Excepted]:
    """The exceptions of a YAML file: a list of `reason` and `tests`."""
    return [Excepted(**entry) for entry in yaml.safe_load(path.read_text("utf-8"))]


def judge(outcomes: Mapping[str, bool], exceptions: Sequence[Excepted]) -> Verdict:
    """Hold outcomes (whether a test passed) against the exceptions, which must be needed."""
    verdict = Verdict()
    for test, passed in outcomes.items():
        excepted = any(exception.covers(test) for exception in exceptions)
        kinds = {
            (True, False): verdict.passed,
            (False, True): verdict.excepted,
            (False, False): verdict.failed,
            (True, True): verdict.passed_unexpectedly,
        }
        kinds[passed, excepted].append(test)
    for exception in exceptions:
        for name in exception.tests:
            if not any(Excepted("", [name]).covers(test) for test in outcomes):
                verdict.never_ran.append(name)
    return verdict


def show(suite: str, verdict: Verdict, exceptions: Sequence[Excepted]) -> None:
    """Print the exceptions and what happened."""
    print(f"\n{suite}: tests that need not pass, and why")
    for exception in exceptions:
        print(f"  {exception.reason}")
        for name in exception.tests:
            print(f"    {name}")
    for words, tests in (
        ("failed, and no exception is made", verdict.failed),
        ("passed though they are excepted: take them off the list", verdict.passed_unexpectedly),
        ("are excepted but did not run", verdict.never_ran),
    ):
        if tests:
            print(f"{suite}: {words}")
            print(*(f"    {test}" for test in tests), sep="\n")
    numbers = f"{len(verdict.passed)} passed, {len(verdict.excepted)} excepted"
    print(f"{suite}: {numbers}: {'good' if verdict.is_good else 'NOT GOOD'}")
