"""What every benchmark says: its conditions, tables for people, and one line of JSON."""

import argparse
import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

RESULTS = Path(__file__).parent / "results"


def parser(description: str | None, rounds: int, tokens: int) -> argparse.ArgumentParser:
    """The options that all benchmarks have."""
    options = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--rounds", type=int, default=rounds, help="alternating rounds")
    options.add_argument("--tokens", type=int, default=tokens, help="new tokens of a request")
    options.add_argument("--out", type=Path, default=RESULTS, help="folder for the plots")
    options.add_argument("--quick", action="store_true", help="tiny models and two short rounds")
    options.add_argument(
        "--members", choices=("ray", "local"), default="ray", help="actors, or this process"
    )
    return options


def parse(options: argparse.ArgumentParser, arguments: Sequence[str] | None) -> Any:
    """The options given; `--quick` makes rounds and texts few and short."""
    given = options.parse_args(arguments)
    if given.quick:
        given.rounds, given.tokens = min(given.rounds, 2), min(given.tokens, 12)
    return given


def hardware() -> str:
    """The machine and what computes on it, in one line."""
    return (
        f"{_processor()}, {os.cpu_count()} cores, torch {torch.__version__}, "
        f"transformers {transformers.__version__}, Python {platform.python_version()}"
    )


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def announce(
    name: str,
    options: Any,
    models: str,
    decoding: str = "greedy, float32, forced lengths, one thread a member",
    seeds: str = "models 1 to 7, texts by round, arrivals 5 + round",
) -> dict[str, Any]:
    """Print what is measured on what; the same for the JSON line."""
    conditions = {
        "hardware": hardware(),
        "models": models,
        "seeds": seeds,
        "rounds": options.rounds,
        "tokens": options.tokens,
        "members": options.members,
        "decoding": decoding,
    }
    print(f"\n# {name}")
    for key, value in conditions.items():
        print(f"  {key}: {value}")
    return {"benchmark": name, "conditions": conditions}


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table: text to the left, numbers to the right with three significant digits."""
    cells = [list(columns), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[place]) for row in cells) for place in range(len(columns))]
    print(f"\n{title}")
    for row in cells:
        first = row[0].ljust(widths[0])
        rest = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("  " + "  ".join([first, *rest]).rstrip())


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)


def finish(
    about: Mapping[str, Any], ratios: Mapping[str, float], **details: object
) -> dict[str, Any]:
    """Print the line of JSON, and return what is in it; `ratios` are positive numbers."""
    assert ratios and all(math.isfinite(value) and value > 0 for value in ratios.values()), ratios
    result = _rounded({**about, "ratios": dict(ratios), **details})
    print(json.dumps(result), flush=True)
    return result


def _rounded(value: Any) -> Any:
    """The same with floats of four significant digits."""
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _rounded(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(part) for part in value]
    return value
