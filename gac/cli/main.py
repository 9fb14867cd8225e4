"""The command line: serve an ensemble, or check a configuration."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from gac.config import Config, load_config
from gac.errors import GacError


def entry_point() -> None:
    """Run, and end the process with the exit code: 0, 2 bad config, 3 cannot place or load."""
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads that still load weights must not keep a stopped server alive.
    os._exit(code)


def main(arguments: Sequence[str]) -> int:
    """Run a command line; returns the exit code.  Expected errors are one message, no traceback."""
    options = _parser().parse_args(arguments)
    level = options.log_level.upper()
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        config = _with_flags(load_config(options.config_path), options)
        if options.check:
            from gac.cli.check import check

            return check(config)
        from gac.cli.serve import serve

        return serve(config)
    except GacError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gac_api_server.py",
        description="Serve an ensemble of language models that write one answer together.",
    )
    parser.add_argument(
        "--config-path", type=Path, required=True, help="the YAML file that describes the ensemble"
    )
    parser.add_argument("--host", help="address to listen on (default: the config's, 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on (default: the config's, 8000)")
    parser.add_argument(
        "--check",
        action="store_true",
        help="load tokenizers only; print the placement plan and a vocabulary report, then exit",
    )
    parser.add_argument(
        "--log-level", default="info", choices=["debug", "info", "warning", "error"]
    )
    return parser


def _with_flags(config: Config, options: argparse.Namespace) -> Config:
    """The configuration with what the command line overrides."""
    flags = {"host": options.host, "port": options.port}
    given = {key: value for key, value in flags.items() if value is not None}
    server = type(config.server).model_validate({**config.server.model_dump(), **given})
    return config.model_copy(update={"server": server})
