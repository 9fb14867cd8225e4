"""The command line: serve an ensemble, check a configuration, or replay a trace."""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from gac.config import Config, load_config
from gac.config.devices import check_devices
from gac.errors import ConfigError, GacError

REPLAY = "replay"
"""The one command with a name; without it this serves."""


def entry_point() -> None:
    """Run, and end the process with the exit code: 0, 2 bad config, 3 cannot place or load."""
    interrupted = 130 if sys.argv[1:2] == [REPLAY] else 0  # 0 of a replay says: identical
    for stop in (signal.SIGINT, signal.SIGTERM):
        # Until a server runs there is nothing to end but this process.
        signal.signal(stop, lambda *_: os._exit(interrupted))
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads that still load weights must not keep a stopped server alive.
    os._exit(code)


def main(arguments: Sequence[str]) -> int:
    """Run a command line; returns the exit code.  Expected errors are one message, no traceback."""
    is_replay = list(arguments[:1]) == [REPLAY]
    parser = _replay_parser() if is_replay else _parser()
    options = parser.parse_args(arguments[is_replay:])
    _set_up_output(options.log_level)
    try:
        config = _configured(options)
        if is_replay:
            from gac.cli.replay import replay

            return replay(options.trace, config)
        if options.check:
            from gac.cli.check import check

            return check(config)
        from gac.cli.serve import serve

        return serve(config)
    except GacError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return error.exit_code


def _set_up_output(log_level: str) -> None:
    """One line an event; who said it only where somebody looks for a fault."""
    source = " %(name)s:" if log_level == "debug" else ""
    logging.basicConfig(
        level=log_level.upper(),
        format=f"%(asctime)s %(levelname)s{source} %(message)s",
        datefmt="%H:%M:%S",
    )
    # Read when Hugging Face's libraries are imported, here and in Ray's processes.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gac_api_server.py",
        description="Serve an ensemble of language models that write one answer together.",
    )
    _add_common(parser, "info")
    parser.add_argument("--host", help="address to listen on (default: the config's, 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on (default: the config's, 8000)")
    parser.add_argument(
        "--check",
        action="store_true",
        help="load tokenizers only; print the placement plan and a vocabulary report, then exit",
    )
    return parser


def _replay_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m gac {REPLAY}",
        description="Run a traced answer again, and name the first token that comes out otherwise. "
        "Exit code 0: identical, 1: diverged, 2: the trace cannot be used.",
    )
    parser.add_argument(
        "trace", type=Path, help="a JSON file: an answer of /api/generate with a trace, or a trace"
    )
    _add_common(parser, "warning")
    parser.set_defaults(host=None, port=None, check=False)
    return parser


def _add_common(parser: argparse.ArgumentParser, log_level: str) -> None:
    parser.add_argument(
        "--config-path", type=Path, required=True, help="the YAML file that describes the ensemble"
    )
    parser.add_argument(
        "--log-level", default=log_level, choices=["debug", "info", "warning", "error"]
    )


def _configured(options: argparse.Namespace) -> Config:
    """The file's configuration with what the command line overrides."""
    config = load_config(options.config_path)
    try:
        check_devices(config)
    except ConfigError as error:
        raise ConfigError(f"{options.config_path}: {error.message}") from error
    flags = {"host": options.host, "port": options.port}
    given = {key: value for key, value in flags.items() if value is not None}
    for key, value in given.items():
        try:
            type(config.server).model_validate({key: value})
        except ValueError as error:
            allowed = type(config.server).model_fields[key].description
            raise ConfigError(f"--{key}: {value!r} is not allowed; must be {allowed}") from error
    return config.model_copy(update={"server": config.server.model_copy(update=given)})
