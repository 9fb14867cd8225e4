"""Run one row of a paper's table here, or list all rows: `python -m reproduce [ROW]`."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from gac.config import load_config
from reproduce.papers import CONFIGS, FOLDER, Papers, Row, read_papers


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code of the first command that fails."""
    parser = argparse.ArgumentParser(prog="python -m reproduce", description=__doc__)
    parser.add_argument("row", nargs="?", help="its id; without one, all rows are listed")
    parser.add_argument("--output", type=Path, default=Path("results"), help="where results go")
    parser.add_argument("--show", action="store_true", help="print the commands, run nothing")
    options, flags = parser.parse_known_args(arguments)
    papers = read_papers()
    if options.row is None:
        print(
            "\n".join(f"{row.id:30} {needs(row):12} {row.models}" for row in papers.rows.values())
        )
        return 0
    if options.row not in papers.rows:
        parser.error(f"there is no row {options.row!r}; `python -m reproduce` lists them")
    row = papers.rows[options.row]
    if not row.configurations:
        parser.error(f"{row.id} cannot be run here: the method {row.why}")
    return run(papers, row, options.output.resolve(), flags, options.show)


def needs(row: Row) -> str:
    """The GPUs that a row's largest configuration reserves."""
    if not row.configurations:
        return "not here"
    configs = [load_config(CONFIGS / name) for name in set(row.configurations.values())]
    gpus = max(sum(member.num_gpus for member in config.members) for config in configs)
    return f"{gpus:g} GPU{'s' * (gpus != 1)}" if gpus else "any CPU"


def run(papers: Papers, row: Row, output: Path, flags: Sequence[str], is_shown: bool) -> int:
    """Run a row's commands one after the other, until one fails."""
    for command in papers.commands(row, output, flags):
        arguments = [sys.executable, "-m", "gac", *command]
        print(shlex.join(arguments), flush=True)
        if is_shown:
            continue
        code = subprocess.run(arguments, cwd=FOLDER.parent, check=False).returncode
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
