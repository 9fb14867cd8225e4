"""The tables of strategies and aggregations in `docs/strategies.md`, from their declarations.

`python -m tests.support.strategy_tables` writes them anew between their two comments.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import get_args

from pydantic.fields import FieldInfo

from gac.config.catalogue import AGGREGATIONS, STRATEGIES, aggregations, strategies
from gac.config.explain import show
from gac.config.methods import Method, Role

PAGE = Path(__file__).parents[2] / "docs/strategies.md"
START, END = "<!-- strategies: generated -->", "<!-- strategies: end -->"
_FILLED = {
    True: "the primary member, else the highest `score`",
    False: "the highest `score` except the gate or drafter",
}


def tables() -> str:
    """Both tables, as they stand in the page."""
    own = [strategies().declared[name] for name in STRATEGIES]
    rest = [aggregations().declared[name] for name in AGGREGATIONS]
    return "\n\n".join([*_table("strategy", own), *_table("aggregation", rest)])


def _table(kind: str, declared: list[type[Method]]) -> Iterator[str]:
    rows = [f"| {kind} | parameter | default | what it is, or must be |", "|---|---|---|---|"]
    for one in declared:
        name = f"`{one.model_fields['name'].default}`"
        rows.append(f"| {name} | | | {' '.join((one.__doc__ or '').split())} |")
        for key, field in one.model_fields.items():
            if key != "name":
                rows.append(f"| {name} | `{key}` | {_default(field)} | {_allowed(field)} |")
    yield "\n".join(rows)


def _default(field: FieldInfo) -> str:
    if not field.is_required():
        value = getattr(field.default, "name", field.default)
        return f"`{value}`" if isinstance(value, str) else f"`{show(value)}`"
    return next(_FILLED[role.leads] for role in field.metadata if isinstance(role, Role))


def _allowed(field: FieldInfo) -> str:
    if field.description:
        return field.description
    choices = [part for part in get_args(field.annotation) if isinstance(part, str)]
    return ", ".join(f"`{choice}`" for choice in choices) or "an aggregation"


def page_with(text: str, generated: str) -> str:
    """A page whose part between the comments is this; they come at its end if it has none."""
    block = f"{START}\n\n{generated}\n\n{END}"
    if START not in text:
        return f"{text.rstrip()}\n\n## All parameters\n\n{block}\n"
    found: Mapping[str, str] = {"block": block}
    return re.sub(f"{START}.*?{END}", lambda _: found["block"], text, flags=re.S)


if __name__ == "__main__":
    PAGE.write_text(page_with(PAGE.read_text("utf-8"), tables()), "utf-8")
