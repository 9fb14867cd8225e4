"""The options of `gac evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

Tasks = Annotated[
    str, typer.Option(help="Tasks, groups or tags of the harness, separated by commas.")
]
Output = Annotated[Path, typer.Option(help="The folder that results are written to.")]
Config = Annotated[
    Path | None,
    typer.Argument(help="The YAML file that describes the ensemble (not needed with --url)."),
]
Url = Annotated[
    str | None,
    typer.Option(
        help="A server that runs, such as http://127.0.0.1:8000 (default: one is started for "
        "the configuration, on a free port of this machine, and ended afterwards)."
    ),
]
Model = Annotated[
    str,
    typer.Option(help="What is evaluated: gac for the ensemble, gac/NAME for one member alone."),
]
Limit = Annotated[
    float | None,
    typer.Option(help="So many documents of each task, or below 1 a share of them (default: all)."),
]
NumFewshot = Annotated[
    str,
    typer.Option(
        help="How many examples are shown: one number for all tasks, or one for each, "
        "separated by commas (default: as each task says)."
    ),
]
IncludePath = Annotated[
    Path | None, typer.Option(help="A folder with tasks of your own.", exists=True)
]
NumConcurrent = Annotated[int, typer.Option(min=1, help="How many requests are sent at once.")]
Chat = Annotated[
    bool,
    typer.Option(
        "--chat/--completions",
        help="Send prompts as user messages, for each member's chat template, or as text to be "
        "continued.",
    ),
]
MaxGenToks = Annotated[
    int,
    typer.Option(min=1, help="The most new tokens of an answer, where a task sets no limit."),
]
