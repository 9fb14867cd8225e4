"""The options that commands share, and the configuration they come to."""

import json
import logging
import os
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from gac.cli.logs import use_log_format
from gac.config import Config, RayConfig, load_config
from gac.config.devices import check_devices
from gac.errors import ConfigError

ConfigPath = Annotated[
    Path, typer.Option("--config-path", help="The YAML file that describes the ensemble.")
]
Host = Annotated[
    str | None,
    typer.Option(
        "--host",
        help="The address to listen on, in place of the configuration's (default: 127.0.0.1).",
    ),
]
Port = Annotated[
    int | None,
    typer.Option(
        "--port",
        help="The port to listen on, in place of the configuration's (default: 8000).",
    ),
]
LogLevel = Annotated[
    Literal["debug", "info", "warning", "error"],
    typer.Option("--log-level", help="The least serious messages that are printed."),
]
LogFormat = Annotated[
    Literal["text", "json"] | None,
    typer.Option(
        "--log-format",
        help="Log lines as text, or as one JSON object each, in place of the configuration's "
        "(default: text).",
    ),
]


def set_up_output(log_level: str) -> None:
    """Log one line an event, with the logger's name only at level debug."""
    logging.basicConfig(level=log_level.upper())
    use_log_format("text")
    # Read when Hugging Face's libraries are imported, here and in Ray's processes.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def demo_config() -> Path:
    """The configuration of the demo's members: inside the installed package, or beside it."""
    package = Path(str(files("gac")))
    installed = package / "example_configs" / "demo.yaml"
    return installed if installed.exists() else package.parent / "example_configs" / "demo.yaml"


def strategy_of(text: str | None) -> str | dict[str, Any] | None:
    """A strategy as a request names it: its name, or its parameters.  Raises: ConfigError."""
    if text is None or not text.lstrip().startswith("{"):
        return text
    try:
        fields: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"--strategy: {text} is not JSON: {error}") from error
    return fields


def names_in(flag: str, text: str) -> tuple[str, ...]:
    """The different names in a list with commas, in order.  Raises: ConfigError if it is empty."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise ConfigError(f"{flag}: {text!r} is not allowed; must be names separated by commas")
    return names


def numbers_in(flag: str, text: str) -> tuple[int, ...]:
    """The numbers, 0 or more, in a list with commas.  Raises: ConfigError."""
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    if not all(part.isdecimal() for part in parts):
        raise ConfigError(f"{flag}: {text!r} is not allowed; must be whole numbers, 0 or more")
    return tuple(map(int, parts))


def in_process(path: Path) -> Config:
    """The file's configuration with all members in this process.  Raises: ConfigError."""
    return _checked(path, load_config(path).model_copy(update={"ray": RayConfig(enabled=False)}))


def configured(path: Path, **server: Any) -> Config:
    """The file's configuration with what the command line overrides in its section `server`.

    What is None overrides nothing.  Raises: ConfigError.
    """
    config = _checked(path, load_config(path))
    given = {key: value for key, value in server.items() if value is not None}
    for key, value in given.items():
        try:
            type(config.server).model_validate({key: value})
        except ValueError as error:
            allowed = type(config.server).model_fields[key].description
            raise ConfigError(f"--{key}: {value!r} is not allowed; must be {allowed}") from error
    return config.model_copy(update={"server": config.server.model_copy(update=given)})


def _checked(path: Path, config: Config) -> Config:
    try:
        check_devices(config)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.message}") from error
    return config
