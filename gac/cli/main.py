"""The command line: gac serve, check, ask and replay.

The help texts are complete sentences, as the documentation is made of them.  What a command needs
is imported when it runs, so that help and errors come at once.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from gac import __version__
from gac.cli.options import ConfigPath, Host, LogLevel, Port, configured, set_up_output
from gac.cli.process import code_of, run_process

app = typer.Typer(
    name="gac",
    help="Language models with different tokenizers write one answer together, token by token.",
    epilog="Exit codes: 0 success, 2 a wrong configuration or command line, 3 members that cannot "
    "be placed or loaded, 130 interrupted.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def entry_point() -> None:
    """Run as a process, which ends with the exit code."""
    run_process(main, is_server=sys.argv[1:2] == ["serve"])


def main(arguments: Sequence[str]) -> int:
    """Run a command line; returns the exit code.  Expected errors are one message, no traceback."""
    return code_of(app, "gac", arguments)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"gac {__version__}")
        raise typer.Exit


@app.callback()
def _gac(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Options that stand before the command."""


@app.command()
def serve(
    config_path: ConfigPath,
    host: Host = None,
    port: Port = None,
    log_level: LogLevel = "info",
) -> None:
    """Serve an ensemble over HTTP until told to stop."""
    set_up_output(log_level)
    config = configured(config_path, host, port)
    from gac.cli.serve import serve as run

    raise typer.Exit(run(config))


@app.command()
def check(config_path: ConfigPath, log_level: LogLevel = "info") -> None:
    """Check a configuration without loading weights.

    Loads the tokenizers only; prints the whole configuration, the placement plan and a report of
    the vocabularies.
    """
    set_up_output(log_level)
    config = configured(config_path)
    from gac.cli.check import check as run

    raise typer.Exit(run(config))


@app.command()
def replay(
    trace: Annotated[
        Path,
        typer.Argument(
            help="A JSON file: an answer of /api/generate with a trace, or one such trace."
        ),
    ],
    config_path: ConfigPath,
    log_level: LogLevel = "warning",
) -> None:
    """Run a traced answer again and compare it token by token.

    Names the first token that comes out differently, and how close that decision was.  The exit
    code is 0 if the texts are identical, 1 if they diverge, 2 if the trace cannot be used, and 3 if
    members cannot be loaded or fail.
    """
    set_up_output(log_level)
    config = configured(config_path)
    from gac.cli.replay import replay as run

    raise typer.Exit(run(trace, config))
