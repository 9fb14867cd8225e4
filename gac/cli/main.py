"""The command line: gac serve, check, ask, replay and evaluate.

The help texts are complete sentences, as the documentation is made of them.  What a command needs
is imported when it runs, so that help and errors come at once.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from gac import __version__
from gac.cli import evaluate_options as options
from gac.cli.logs import errors_in, use_log_format
from gac.cli.options import (
    ConfigPath,
    Host,
    LogFormat,
    LogLevel,
    Port,
    configured,
    demo_config,
    in_process,
    names_in,
    numbers_in,
    set_up_output,
    strategy_of,
)
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
    log_format: LogFormat = None,
) -> None:
    """Serve an ensemble over HTTP until told to stop.

    Prints the keys of the configuration that differ from the defaults, what each member takes, and
    a command to try when all members are loaded.  Ray gives a member a GPU only if the
    configuration says how many it gets (num_gpus: 1, or 0.5 to share one); else it runs on the CPU.
    """
    set_up_output(log_level)
    config = configured(config_path, host=host, port=port, log_format=log_format)
    use_log_format(config.server.log_format)
    from gac.cli.serve import serve as run

    with errors_in(config.server.log_format):
        raise typer.Exit(run(config))


@app.command()
def check(config_path: ConfigPath, log_level: LogLevel = "info") -> None:
    """Check a configuration without loading weights.

    Loads the tokenizers only; prints the whole configuration, the placement plan and a report of
    the vocabularies.  Warns of members that would run on the CPU beside free GPUs, as they do where
    their num_gpus is not set.
    """
    set_up_output(log_level)
    config = configured(config_path)
    from gac.cli.check import check as run

    raise typer.Exit(run(config))


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="The question, sent as one user message.")],
    config_path: Annotated[
        Path | None,
        typer.Option(
            "--config-path",
            help="The YAML file that describes the ensemble (default: the demo's three tiny "
            "members, which come with this program).",
        ),
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            help="How the members write together: a strategy's name, or JSON with its parameters "
            '(such as {"name": "threshold", "gate": "ada"}) (default: as the configuration says).'
        ),
    ] = None,
    max_new_tokens: Annotated[
        int, typer.Option(min=1, help="The largest number of tokens to write.")
    ] = 128,
    temperature: Annotated[
        float,
        typer.Option(
            min=0.0, max=100.0, help="0 picks the most likely token; above 0, tokens are sampled."
        ),
    ] = 0.0,
    seed: Annotated[
        int | None,
        typer.Option(help="Makes sampling repeatable (default: a new seed every time)."),
    ] = None,
    chat_template: Annotated[
        bool,
        typer.Option(
            help="Put the question into each member's chat template, rather than have the members "
            "continue it as it stands."
        ),
    ] = True,
    log_level: LogLevel = "warning",
) -> None:
    """Ask one question here, without a server.

    Prints each member's own answer, then the one they write together, with who wrote each token in
    colour, and where the members disagreed.  Members are loaded into this process; Ray is not used.
    """
    set_up_output(log_level)
    chosen = strategy_of(strategy)
    config = in_process(config_path or demo_config())
    from gac.cli.ask import Question
    from gac.cli.ask import ask as run

    asked = Question(question, chosen, max_new_tokens, temperature, seed, chat_template)
    raise typer.Exit(run(config, asked))


@app.command()
def replay(
    trace: Annotated[
        Path,
        typer.Argument(help="A JSON file: an answer with a trace, or one such trace."),
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


@app.command()
def evaluate(
    tasks: options.Tasks,
    output: options.Output,
    config: options.Config = None,
    url: options.Url = None,
    model: options.Model = "gac",
    limit: options.Limit = None,
    num_fewshot: options.NumFewshot = "",
    include_path: options.IncludePath = None,
    num_concurrent: options.NumConcurrent = 16,
    chat: options.Chat = False,
    max_gen_toks: options.MaxGenToks = 256,
    log_level: LogLevel = "warning",
) -> None:
    """Run tasks of lm-evaluation-harness on an ensemble.

    Says first what is not there: GPUs, models, data sets.  Prints the harness' tables with standard
    errors, and writes its results, every answer, and the resolved configuration into a folder.
    Needs the extra eval: pip install 'gac-server[eval]'.
    """
    set_up_output(log_level)
    from gac.cli.evaluate import Evaluation
    from gac.cli.evaluate import evaluate as run

    asked = Evaluation(
        config_path=config,
        config=configured(config) if config else None,
        url=url,
        model=model,
        tasks=names_in("--tasks", tasks),
        num_fewshot=numbers_in("--num-fewshot", num_fewshot),
        limit=limit,
        include_path=include_path,
        num_concurrent=num_concurrent,
        is_chat=chat,
        max_gen_toks=max_gen_toks,
        output=output,
    )
    raise typer.Exit(run(asked))
