"""`tables.yaml` as values: the papers' rows, and the commands that run them here.

Knows no models and no results.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent
CONFIGS = FOLDER / "configs"


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What the harness runs for a column: its task, the examples shown, the metric compared."""

    name: str
    task: str
    shots: int
    metric: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a paper: where it stands, its columns, and what its rows add to the command."""

    name: str
    source: str
    benchmarks: Sequence[str]
    flags: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """A row: the paper's scores in per cent by benchmark, and what runs it here.

    `configurations` maps each benchmark to the name of a file; it is empty where `why` says that
    this server cannot run the row.  `average` and `ensembled`, the share of tokens in per cent, are
    the paper's, the latter for all benchmarks together or for each.
    """

    id: str
    table: Table
    models: str
    scores: Mapping[str, float]
    configurations: Mapping[str, str]
    why: str = ""
    average: float | None = None
    ensembled: float | Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Papers:
    """All rows by id, and all benchmarks by name."""

    rows: Mapping[str, Row]
    benchmarks: Mapping[str, Benchmark]

    def commands(self, row: Row, output: Path, flags: Sequence[str]) -> Iterator[list[str]]:
        """The arguments of `gac` that run a row: one `evaluate` for each of its configurations."""
        for name in dict.fromkeys(row.configurations.values()):
            chosen = [self.benchmarks[b] for b, c in row.configurations.items() if c == name]
            yield [
                "evaluate",
                str(CONFIGS / name),
                "--tasks",
                ",".join(benchmark.task for benchmark in chosen),
                "--num-fewshot",
                ",".join(str(benchmark.shots) for benchmark in chosen),
                "--output",
                str(output / row.id / Path(name).stem),
                *row.table.flags,
                *flags,
            ]


def read_papers(path: Path = FOLDER / "tables.yaml") -> Papers:
    """What the file says."""
    data = yaml.safe_load(path.read_text("utf-8"))
    tables = {name: Table(name, **fields) for name, fields in data["tables"].items()}
    rows = [_row(tables[entry["table"]], entry) for entry in data["rows"]]
    benchmarks = {name: Benchmark(name, **fields) for name, fields in data["benchmarks"].items()}
    return Papers({row.id: row for row in rows}, benchmarks)


def _row(table: Table, entry: Mapping[str, Any]) -> Row:
    """A row, with one configuration for each benchmark, or none."""
    configurations = entry.get("configurations", {})
    if name := entry.get("configuration"):
        configurations = dict.fromkeys(table.benchmarks, name)
    return Row(
        entry["id"],
        table,
        entry["models"],
        entry["scores"],
        configurations,
        entry.get("why", ""),
        entry.get("average"),
        entry.get("ensembled"),
    )
