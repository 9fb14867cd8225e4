"""Exceptions from a public suite: each must be needed, and each has a reason."""

from pathlib import Path

import pytest

from conformance.allowed import Excepted, judge, read_exceptions, show

FOLDER = Path(__file__).parents[2] / "conformance"
OUTCOMES = {"a::one": True, "a::two[x]": False, "a::two[y]": False, "b::three": False}


def excepted(*tests: str) -> list[Excepted]:
    return [Excepted("not ours", tests)]


def test_all_is_good_where_just_the_excepted_tests_fail() -> None:
    verdict = judge(OUTCOMES, excepted("a::two", "b::three"))
    assert verdict.is_good
    assert (verdict.passed, len(verdict.excepted)) == (["a::one"], 3)


def test_a_failure_without_an_exception_is_not_good() -> None:
    verdict = judge(OUTCOMES, excepted("a::two[x]", "b::three"))
    assert verdict.failed == ["a::two[y]"] and not verdict.is_good


def test_an_exception_that_is_not_needed_is_not_good() -> None:
    verdict = judge(OUTCOMES, excepted("a::one", "a::two", "b::three"))
    assert verdict.passed_unexpectedly == ["a::one"] and not verdict.is_good


def test_an_exception_for_a_test_that_never_ran_is_not_good() -> None:
    verdict = judge(OUTCOMES, excepted("a::two", "b::three", "b::th"))
    assert verdict.never_ran == ["b::th"] and not verdict.is_good


def test_a_suite_of_which_nothing_passes_is_not_good() -> None:
    assert not judge({}, []).is_good
    assert not judge({"b::three": False}, excepted("b::three")).is_good


@pytest.mark.parametrize("name", ["llama_cpp.yaml", "provider_check.yaml"])
def test_every_exception_has_a_reason_and_is_printed(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    exceptions = read_exceptions(FOLDER / name)
    show("suite", judge({}, exceptions), exceptions)
    printed = capsys.readouterr().out
    for exception in exceptions:
        assert exception.reason.strip() and exception.tests
        assert all(text in printed for text in (exception.reason, *exception.tests))
