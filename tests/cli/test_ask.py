"""One question on demo members in this process, and how its answers are shown."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gac.cli.answers import Display
from gac.cli.main import main
from gac.core import ErrorEvent, FinishEvent, FinishReason, Pick, TokenEvent
from gac.errors import MemberError
from gac.trace import Candidate, MemberTrace, Outcome, TokenTrace, VerdictTrace, Why
from tests.support.server_process import ROOT, demo_config

ADA = ROOT / "demo" / "models" / "ada"
NORWAY = "What is the capital of Norway?"
Ask = Callable[..., list[str]]


@pytest.fixture(autouse=True)
def no_colour_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.setswitchinterval", lambda seconds: None)
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def ask(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Runs the command on two members, with Ray configured, and gives what it printed."""
    config = demo_config(tmp_path)

    def run(*arguments: str) -> list[str]:
        assert main(["ask", *arguments, "--config-path", str(config)]) == 0
        printed = capsys.readouterr()
        assert printed.err == ""
        return printed.out.splitlines()

    return run


def test_members_answer_alone_then_together(ask: Ask) -> None:
    lines = ask(NORWAY)
    assert [line.split()[0] for line in lines[:3]] == ["ada", "bora", "together"]
    assert lines[0].startswith("ada       The capital of Norway is ")
    assert lines[1] == "bora      The capital of Norway is Oslo."
    assert lines[2] == "together  The capital of Norway is Oslo."
    assert lines[3:4] == [""] and lines[4].startswith("Who wrote the tokens: ada ")
    assert any(line.startswith('  " Oslo" is written;  ada " M') for line in lines[5:])


@pytest.mark.slow
def test_options_change_what_is_written(ask: Ask) -> None:
    assert ask(NORWAY, "--max-new-tokens", "3")[2] == "together  The capital of"
    alone = '{"name": "threshold", "gate": "bora", "threshold": 0}'
    assert ask(NORWAY, "--strategy", alone)[4].startswith("Who wrote the tokens: bora ")
    plain = ask("The capital of Norway", "--no-chat-template")[2]
    assert plain.startswith("together  is ") and plain != ask("The capital of Norway")[2]
    drawn = ask("Tell me a story.", "--temperature", "1.5", "--seed", "7")
    assert ask("Tell me a story.", "--temperature", "1.5", "--seed", "7") == drawn
    assert ask("Tell me a story.", "--temperature", "1.5", "--seed", "8") != drawn


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("safe_", "strategy: 'safe_' is not allowed; must be "),
        ('{"name": "threshold", "gate": "cleo"}', "strategy.gate: 'cleo' is not allowed; must be"),
    ],
)
def test_strategy_that_is_none_is_exit_2(option, words, tmp_path, capsys) -> None:
    config = str(demo_config(tmp_path))
    assert main(["ask", NORWAY, "--config-path", config, "--strategy", option]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and words in printed.err
    assert printed.err.startswith("error: ")


def test_broken_json_is_exit_2_before_anything_is_loaded(capsys: pytest.CaptureFixture) -> None:
    assert main(["ask", NORWAY, "--strategy", "{"]) == 2
    assert capsys.readouterr().err.startswith("error: --strategy: { is not JSON: ")
    assert main(["ask", NORWAY, "--max-new-tokens", "0"]) == 2
    assert "--max-new-tokens" in capsys.readouterr().err


def trace(*favourites: tuple[str, bytes], verdicts: tuple[VerdictTrace, ...] = ()) -> TokenTrace:
    members = [MemberTrace(name, 0.5, 0.9, (Candidate(token, 0.9),)) for name, token in favourites]
    return TokenTrace(Outcome.ENSEMBLED, Why.ALL_ASKED, 0.5, tuple(members), (), verdicts)


def token(text: str, *owners: str, trace: TokenTrace | None = None) -> TokenEvent:
    return TokenEvent("r", Pick(0, 1, owners), owners, text.encode(), text, trace)


def finish(text: str = "", trace: TokenTrace | None = None) -> FinishEvent:
    return FinishEvent("r", text, FinishReason.STOP, {}, 2, 2, trace=trace)


def test_who_wrote_what_is_coloured_on_a_terminal_only(capsys, monkeypatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for env, is_coloured in (
        ((), False),
        (("FORCE_COLOR",), True),
        (("FORCE_COLOR", "NO_COLOR"), False),
    ):
        for name in env:
            monkeypatch.setenv(name, "1")
        display = Display(["ada", "bora"])
        display.own_answer("ada", "Hi.")
        display.begin()
        display.take(token("Hi", "ada"))
        display.take(token("!", "bora", trace=trace(("ada", b"."), ("bora", b"!"))))
        display.take(token("!", "ada", "bora"))
        display.take(finish())
        out = capsys.readouterr().out
        assert ("\x1b[" in out) is is_coloured
        assert ("\x1b[36mHi\x1b[0m\x1b[4;35m!\x1b[0m\x1b[1m!" in out) is is_coloured
        if not is_coloured:
            assert out == (
                "ada       Hi.\ntogether  Hi!!\n\n"
                "Who wrote the tokens: ada 1, bora 1, several 1.  "
                "Where members disagree, each one's likeliest token:\n"
                '  "!" is written;  ada "." 0.90  bora "!" 0.90\n'
            )


def test_what_a_text_holds_does_not_steer_the_terminal(capsys: pytest.CaptureFixture) -> None:
    display = Display(["ada"])
    display.own_answer("ada", " [bold]a\x1b]0;x\x07\r\nb\t ")
    display.begin()
    display.take(token("  ", "ada"))
    display.take(token(" a\n", "ada"))
    display.take(finish("b \n"))
    own, more, *together = capsys.readouterr().out.splitlines()
    assert own == "ada       [bold]a\ufffd]0;x\ufffd\ufffd"
    assert more == "          b"
    assert together == ["together  a", "          b"]


def test_end_and_verdicts_are_listed_where_members_disagree(capsys) -> None:
    display = Display(["ada", "bora"])
    display.begin()
    against = (VerdictTrace("bora", False, 0.1),)
    for _ in range(11):
        display.take(token("a", "ada", trace=trace(("ada", b"a"), verdicts=against)))
    display.take(finish(trace=trace(("ada", b""), ("bora", b" more"))))
    listed = capsys.readouterr().out.splitlines()[3:]
    assert listed[0] == '  "a" is written;  ada "a" 0.90  bora another token'
    assert listed[10:] == ["  and 2 more"]
    display = Display(["ada", "bora"])
    display.begin()
    display.take(token("a", "ada", trace=trace(("ada", b"a"), ("bora", b"a"))))
    display.take(finish(trace=trace(("ada", b""), ("bora", b" more"))))
    assert capsys.readouterr().out.splitlines()[3:] == [
        '  END is written;  ada END 0.90  bora " more" 0.90'
    ]


def test_failure_in_the_middle_is_the_error_of_the_command(capsys) -> None:
    display = Display(["ada"])
    display.begin()
    with pytest.raises(MemberError, match="gone"):
        display.take(ErrorEvent("r", MemberError("gone")))
    assert capsys.readouterr().out == "together  \n"


def test_one_member_answers_once(tmp_path, capsys) -> None:
    config = demo_config(tmp_path, CONFIG_API_SERVER=[{"weight": str(ADA), "name": "ada"}])
    assert main(["ask", NORWAY, "--config-path", str(config)]) == 0
    assert capsys.readouterr().out == "together  The capital of Norway is Moscow.\n"
