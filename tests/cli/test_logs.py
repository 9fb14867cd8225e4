"""The two forms of log lines."""

import io
import json
import logging
import socket
import sys
import warnings
from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path

import pytest

from gac.cli import api_server
from gac.cli.logs import JsonLines, TextLines, use_log_format
from gac.cli.main import main
from gac.server.exchange import Exchanges
from tests.support.server_process import ServerProcess, demo_config


def record(message: str, *args: object, **more: object) -> logging.LogRecord:
    made = logging.LogRecord("gac.x", logging.INFO, __file__, 1, message, args, None)
    made.__dict__.update(more)
    return made


def within(request_id: str, formatter: logging.Formatter, line: logging.LogRecord) -> str:
    """What a line looks like that is logged while a request with this id is answered."""
    said: list[str] = []

    async def app(scope: object, receive: object, send: object) -> None:
        said.append(formatter.format(line))

    scope = {"type": "http", "headers": [(b"x-request-id", request_id.encode())]}
    going = Exchanges(app, lambda *_: None)(scope, None, None)  # type: ignore[arg-type]
    with pytest.raises(StopIteration):
        copy_context().run(going.send, None)
    return said[0]


def test_text_has_the_id_unless_the_message_names_it() -> None:
    text = TextLines(with_source=False)
    assert text.format(record("hello %s", "you"))[8:] == " INFO hello you"
    assert within("r7", text, record("hello"))[8:] == " INFO [r7] hello"
    named = record("request r7: done")
    assert within("r7", text, named)[8:] == " INFO request r7: done"
    assert TextLines(with_source=True).format(record("hello"))[8:] == " INFO gac.x: hello"


def test_json_is_one_line_whatever_is_said() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        failed = record("a\nb\u2028\ud800 %d", 3, exc_info=sys.exc_info())
    line = within("r8", JsonLines(), failed)
    assert "\n" not in line and line.isascii()
    said = json.loads(line)
    assert said["message"] == "a\nb\u2028\ud800 3"
    assert (
        said["exception"].startswith("Traceback") and "ValueError: two\nlines" in said["exception"]
    )
    assert (said["request_id"], said["level"], said["logger"]) == ("r8", "info", "gac.x")
    assert said["time"].endswith("+00:00")


def test_json_has_no_id_outside_of_requests() -> None:
    assert set(json.loads(JsonLines().format(record("x")))) == {
        "time",
        "level",
        "logger",
        "message",
    }


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What the root logger writes, by a handler in place of those that are there."""
    logger, stream = logging.getLogger(), io.StringIO()
    before, level = logger.handlers[:], logger.level
    logger.handlers[:] = [logging.StreamHandler(stream)]
    yield stream
    logger.handlers[:] = before
    logger.setLevel(level)
    logging.captureWarnings(False)


def serve(arguments: list[str]) -> int:
    return main(["serve", *arguments])


@pytest.mark.parametrize("run", [serve, api_server.main])
@pytest.mark.parametrize("flags", [["--log-format", "json"], []], ids=["flag", "key"])
def test_an_error_that_ends_the_server_is_a_line_too(
    run, flags: list[str], logged: io.StringIO, tmp_path: Path, capsys
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = {"port": taken.getsockname()[1], **({} if flags else {"log_format": "json"})}
        path = demo_config(tmp_path, server=server, ray={"enabled": False})
        assert run(["--config-path", str(path), *flags]) == 3
    [line] = [json.loads(line) for line in logged.getvalue().splitlines()]
    assert line["level"] == "critical"
    assert line["message"].startswith("cannot listen on 127.0.0.1:")
    assert capsys.readouterr().err == ""


def test_the_flag_goes_before_the_key(logged: io.StringIO, tmp_path: Path, capsys) -> None:
    server = {"host": "256.1.1.1", "log_format": "json"}
    path = demo_config(tmp_path, server=server, ray={"enabled": False})
    assert serve(["--config-path", str(path), "--log-format", "text"]) == 3
    assert capsys.readouterr().err.startswith("error: cannot listen on 256.1.1.1:")
    assert logged.getvalue() == ""


def test_python_warnings_become_lines(logged: io.StringIO) -> None:
    use_log_format("json")
    warnings.showwarning("old", DeprecationWarning, "x.py", 3)
    assert "old" in json.loads(logged.getvalue())["message"]


@pytest.mark.slow
def test_a_real_server_logs_nothing_but_objects(tmp_path: Path) -> None:
    config = demo_config(tmp_path, ray={"enabled": False}, server={"access_log": True})
    server = ServerProcess(config, "--port", "0", "--log-format", "json")
    try:
        server.wait_for(r"ready: (http://[^\\]+)")
        server.end()
    finally:
        said = server.output
        server.close()
    logged = [line for line in said.splitlines() if line.startswith("{")]
    assert {json.loads(line)["level"] for line in logged} == {"info"}
    assert any("listening on" in json.loads(line)["message"] for line in logged)
