"""The configuration: one YAML file, parsed once into frozen values that are handed on.

Reads the original GaC server's YAML unchanged, and newer optional keys.  Knows what a key may hold
and how keys hang together; knows nothing of models, GPUs or ports that exist on this machine.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field

from gac.config.catalogue import aggregations, strategies
from gac.config.explain import attempt, read_section, read_yaml, show
from gac.config.fields import OptionalProbability, Section
from gac.config.parse_methods import parse_strategy
from gac.config.sections import (
    Config,
    EngineConfig,
    MemberConfig,
    RayConfig,
    RequestsConfig,
    ServerConfig,
    SpeculationConfig,
)
from gac.errors import ConfigError

_MEMBERS = "CONFIG_API_SERVER"
_INSTEAD_OF_GGUF = "give the folder of the model's safetensors, with its config.json"
_HUB_NAME = r"[\w-][\w.-]*(/[\w.-]+)?"


class _File(Section):
    """The top level of the YAML; its parts are read one by one, so that all errors are found."""

    NORM_TYPE_API_SERVER: Literal["average", "score"] = "average"
    THRESHOLD_API_SERVER: OptionalProbability = None
    CONFIG_API_SERVER: list[Any] = Field(min_length=1, description="a list of one or more members")
    strategy: Any = None
    engine: Any = None
    server: Any = None
    ray: Any = None
    requests: Any = None


def load_config(path: Path) -> Config:
    """The configuration in a YAML file; raises ConfigError with everything that is wrong in it."""
    return parse_config(read_yaml(path), str(path), path.parent)


def parse_config(data: object, source: str, folder: Path) -> Config:
    """The configuration in parsed YAML; errors name `source`, relative paths start at `folder`."""
    if not isinstance(data, dict):
        what = "is empty" if data is None else "is not a mapping of keys to values"
        raise ConfigError(f"{source}: {what}; it needs at least {_MEMBERS}")
    strategies(), aggregations()  # a broken package is not an error of this file
    problems: list[str] = []
    # Where one part has an error the others are still read, so that all errors show at once.
    file = attempt(problems, read_section, _File, data, "")
    members = _read_members(data.get(_MEMBERS), folder, problems)
    threshold = file.THRESHOLD_API_SERVER if file else None
    strategy = attempt(problems, parse_strategy, data.get("strategy"), members, threshold)
    engine = attempt(problems, _read_engine, data.get("engine"), members)
    server = attempt(problems, read_section, ServerConfig, data.get("server"), "server")
    ray = attempt(problems, read_section, RayConfig, data.get("ray"), "ray")
    requests = attempt(problems, read_section, RequestsConfig, data.get("requests"), "requests")
    if problems or not (file and strategy and engine and server and ray and requests):
        lines = "\n".join(problems).split("\n")
        raise ConfigError("\n".join(f"{source}: {line}" for line in lines))
    return Config(
        members=tuple(members),
        norm_type=file.NORM_TYPE_API_SERVER,
        threshold=threshold,
        strategy=strategy,
        engine=engine,
        server=server,
        ray=ray,
        requests=requests,
    )


def describe(config: Config) -> str:
    """The resolved configuration as YAML that parses to the same configuration."""
    data = config.model_dump(by_alias=True, exclude_none=True)
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True)


def resolve_path(weight: str, config_dir: Path) -> str:
    """An existing folder (next to the config file, else from here), absolute; else a hub name.

    Raises: ConfigError.
    """
    if weight.startswith("["):
        what = "the example's placeholder; must be the model's folder or its hub name, such as"
        raise ConfigError(f"{show(weight)} is {what} openchat/openchat-3.5-0106")
    path = os.path.expanduser(weight)
    for candidate in (os.path.join(config_dir, path), path):
        if is_gguf(candidate):
            raise ConfigError(f"{show(weight)}: GGUF is not supported yet; {_INSTEAD_OF_GGUF}")
        if os.path.isdir(candidate):
            return os.path.abspath(candidate)
        if os.path.isfile(candidate):
            raise ConfigError(f"{show(weight)} is a file; must be the folder that it lies in")
    if re.fullmatch(_HUB_NAME, weight):  # never what begins as a path does: / . ~
        return weight
    what = f"there is no such folder (looked from {config_dir} and {os.getcwd()})"
    raise ConfigError(f"{show(weight)}: {what}, and it is not a hub name either")


def is_gguf(path: str) -> bool:
    """Whether a path names a GGUF file, or a folder that holds a model as GGUF only."""
    if not os.path.isdir(path):
        return path.lower().endswith(".gguf")
    names = os.listdir(path)
    return "config.json" not in names and any(name.lower().endswith(".gguf") for name in names)


def resolve_file(name: str, config_dir: Path) -> str:
    """An existing file (next to the config file, else from here), absolute.

    Raises: ConfigError.
    """
    path = os.path.expanduser(name)
    for candidate in (os.path.join(config_dir, path), path):
        if os.path.isfile(candidate):
            return os.path.abspath(candidate)
    looked = f"(looked from {config_dir} and {os.getcwd()})"
    raise ConfigError(f"{show(name)}: there is no such file {looked}")


def _read_members(items: object, folder: Path, problems: list[str]) -> list[MemberConfig]:
    """All members; none if one has an error, as what refers to them cannot be judged then."""
    members: list[MemberConfig] = []
    items = items if isinstance(items, list) else []
    for index, item in enumerate(items):
        name = item.get("name") if isinstance(item, dict) else None
        label = f" ({name})" if isinstance(name, str) and name.isprintable() else ""
        where = f"{_MEMBERS}[{index}]{label}"
        member = attempt(problems, _read_member, item, where, folder)
        if member and any(member.name == other.name for other in members):
            taken = f"{show(member.name)} is taken; every member needs its own"
            problems.append(f"{where}.name: {taken}")
        elif member:
            members.append(member)
    gates = [show(member.name) for member in members if member.priority == "primary"]
    if len(gates) > 1:
        problems.append(f"{_MEMBERS}: {' and '.join(gates)} are primary; only one member may be")
    return members if len(members) == len(items) else []


def _read_member(item: object, where: str, folder: Path) -> MemberConfig:
    member = read_section(MemberConfig, _named(item, folder), where)
    changes: dict[str, str] = {}
    try:
        key = "weight"
        changes["path"] = resolve_path(member.path, folder)
        if member.chat_template:
            key = "chat_template"
            changes[key] = resolve_file(member.chat_template, folder)
    except ConfigError as error:
        raise ConfigError(f"{where}.{key}: {error.message}") from error
    return member.model_copy(update=changes)


def _named(item: object, folder: Path) -> object:
    """A member with its name: if none is given, its folder's, or the last part of its hub name."""
    if not isinstance(item, dict) or "name" in item:
        return item
    weight = item.get("weight")
    weight = weight if isinstance(weight, str) else "member"  # whose own error is told instead
    path = os.path.abspath(os.path.join(folder, os.path.expanduser(weight)))
    return {**item, "name": os.path.basename(path)}


def _read_engine(value: object, members: Sequence[MemberConfig]) -> EngineConfig:
    if not isinstance(value, dict) or "speculation" not in value:
        return read_section(EngineConfig, value, "engine")
    speculation = _read_speculation(value["speculation"], members)
    rest = {key: field for key, field in value.items() if key != "speculation"}
    engine = read_section(EngineConfig, rest, "engine")
    return engine.model_copy(update={"speculation": speculation})


def _read_speculation(value: object, members: Sequence[MemberConfig]) -> SpeculationConfig:
    where = "engine.speculation"
    speculation = read_section(SpeculationConfig, value, where)
    names = ["none", "auto", *(member.name for member in members)]
    if members and speculation.drafter not in names:
        found, allowed = show(speculation.drafter), " or ".join(map(show, names))
        raise ConfigError(f"{where}.drafter: {found} is not allowed; must be {allowed}")
    return speculation
