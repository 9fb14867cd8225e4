"""A command as a process: how it is run, and with which code it ends."""

import os
import signal
import sys
from collections.abc import Callable, Sequence

import typer

from gac.errors import GacError

SIGNAL_CODE = 128
"""A process that a signal ends has this exit code and the signal's number: 130 for Ctrl-C."""


def run_process(main: Callable[[Sequence[str]], int], is_server: bool) -> None:
    """Run the command line of this process, and end it with the exit code.

    A server that is told to stop has done its work, so that is exit code 0; any other command that
    is interrupted has not.
    """
    for stop in (signal.SIGINT, signal.SIGTERM):
        # Until a server runs there is nothing to end but this process.
        code = 0 if is_server else SIGNAL_CODE + stop
        signal.signal(stop, lambda *_, code=code: os._exit(code))
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads that still load weights must not keep a stopped server alive.
    os._exit(code)


def code_of(app: typer.Typer, name: str, arguments: Sequence[str]) -> int:
    """Run a command line; returns the exit code.  Expected errors are one message, no traceback."""
    command = typer.main.get_command(app)
    try:
        command(list(arguments), prog_name=name)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    except GacError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return error.exit_code
    return 0
