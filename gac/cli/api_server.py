"""The original server's command line: gac_api_server.py --config-path X --host H --port P."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from gac.cli import main as commands
from gac.cli.options import ConfigPath, Host, LogFormat, LogLevel, Port
from gac.cli.process import code_of, run_process

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def entry_point() -> None:
    """Run as a process, which ends with the exit code."""
    run_process(main, is_server="--check" not in sys.argv)


def main(arguments: Sequence[str]) -> int:
    """Run a command line; returns the exit code."""
    return code_of(app, "gac_api_server.py", arguments)


@app.command()
def api_server(
    config_path: ConfigPath,
    host: Host = None,
    port: Port = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Check the configuration as `gac check` does, then exit."),
    ] = False,
    log_level: LogLevel = "info",
    log_format: LogFormat = None,
) -> None:
    """Serve an ensemble of language models that write one answer together.

    The same as `gac serve`.
    """
    if check:
        commands.check(config_path, log_level)
    commands.serve(config_path, host, port, log_level, log_format)
