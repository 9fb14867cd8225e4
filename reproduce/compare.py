"""Results beside the papers' numbers, as Markdown: `python -m reproduce.compare [FOLDER]`.

Scores and standard errors are the harness's own.  Only where it aggregates nothing for a group of
tasks (its MMLU group names a metric that its tasks lack) the tasks' scores are averaged here.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reproduce.papers import Benchmark, Papers, Row, Table, read_papers


@dataclass(frozen=True, slots=True)
class Measured:
    """A score and its standard error in per cent; `is_limited`: not on all of the documents."""

    score: float
    error: float
    is_limited: bool = False

    def __str__(self) -> str:
        return f"{self.score:.2f} ± {self.error:.2f}{'*' if self.is_limited else ''}"


def measured(results: Mapping[str, Any], benchmark: Benchmark) -> Measured | None:
    """What one file of results says of a benchmark; None if the task or the metric is not in it."""
    if benchmark.task not in results["results"]:
        return None
    leaves = list(_leaves(results, benchmark.task))
    counts = [results["n-samples"][leaf] for leaf in leaves]
    is_limited = any(count["effective"] < count["original"] for count in counts)
    found = _entry(results, benchmark.task, benchmark.metric)
    if found is None:
        parts = [_entry(results, leaf, benchmark.metric) for leaf in leaves]
        found = _pooled(parts, [count["effective"] for count in counts])
    return found and Measured(100 * found[0], 100 * found[1], is_limited)


def _entry(results: Mapping[str, Any], task: str, metric: str) -> tuple[float, float] | None:
    """A task's score and standard error, as shares of 1."""
    entry, (name, _, rest) = results["results"][task], metric.partition(",")
    if metric not in entry:
        return None
    error = entry.get(f"{name}_stderr,{rest}")
    return float(entry[metric]), float(error) if isinstance(error, int | float) else math.nan


def _leaves(results: Mapping[str, Any], name: str) -> Iterator[str]:
    """The tasks that a group consists of, at any depth; a task itself."""
    children = results.get("group_subtasks", {}).get(name)
    if not children:
        yield name
    for child in children or ():
        yield from _leaves(results, child)


def _pooled(
    parts: Sequence[tuple[float, float] | None], counts: Sequence[int]
) -> tuple[float, float] | None:
    """The mean over all documents, with the standard error of independent tasks."""
    known = [part for part in parts if part is not None]
    if not known or len(known) < len(parts):
        return None
    total = sum(counts)
    mean = sum(score * count for (score, _), count in zip(known, counts, strict=True)) / total
    square = sum((error * count) ** 2 for (_, error), count in zip(known, counts, strict=True))
    return mean, math.sqrt(square) / total


def of_row(papers: Papers, row: Row, folder: Path) -> dict[str, Measured]:
    """The latest score of each of a row's benchmarks below `folder`/id."""
    found: dict[str, Measured] = {}
    files = sorted((folder / row.id).rglob("results_*.json"), key=lambda file: file.name)
    for file in files:
        results = json.loads(file.read_text("utf-8"))
        for name in row.configurations:
            if (score := measured(results, papers.benchmarks[name])) is not None:
                found[name] = score
    return found


def compared(papers: Papers, folder: Path) -> str:
    """One Markdown table for each of the papers' tables of which a row has results."""
    scores = {row.id: of_row(papers, row, folder) for row in papers.rows.values()}
    ran = [row for row in papers.rows.values() if scores[row.id]]
    parts = []
    for table in {row.table.name: row.table for row in ran}.values():
        rows = [row for row in ran if row.table == table]
        parts.append("\n".join(_markdown(table, rows, scores)))
    return "\n\n".join(parts) or f"There are no results below {folder}."


def _markdown(
    table: Table, rows: Sequence[Row], scores: Mapping[str, Mapping[str, Measured]]
) -> Iterator[str]:
    yield f"{table.source}.\n"
    yield (
        "| row | models | " + " | ".join(f"{name}: paper, here" for name in table.benchmarks) + " |"
    )
    yield "|---" * (2 + len(table.benchmarks)) + "|"
    for row in rows:
        cells = [_cell(row, name, scores[row.id].get(name)) for name in table.benchmarks]
        yield f"| {row.id} | {row.models}{_share(row.ensembled)} | " + " | ".join(cells) + " |"
    if any(score.is_limited for row in rows for score in scores[row.id].values()):
        yield "\n\\* not on all documents (`--limit`)"


def _cell(row: Row, name: str, here: Measured | None) -> str:
    paper = row.scores.get(name)
    said = "-" if paper is None else f"{paper:.2f}"
    if isinstance(row.ensembled, Mapping):
        said += _share(row.ensembled.get(name))
    return f"{said}, {here if here is not None else '-'}"


def _share(ensembled: float | Mapping[str, float] | None) -> str:
    """The paper's share of tokens that several models decided."""
    return f" ({ensembled:.2f} % ensembled)" if isinstance(ensembled, int | float) else ""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m reproduce.compare", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("results"))
    print(compared(read_papers(), parser.parse_args(arguments).folder))


if __name__ == "__main__":
    main()
