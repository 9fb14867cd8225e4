"""The configuration: one YAML file, parsed once into frozen values that are handed on.

Reads the original GaC server's YAML unchanged, and newer optional keys.  Knows what a key may hold
and how keys hang together; knows nothing of models, GPUs or ports that exist on this machine.
"""

import os
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from gac.config_errors import attempt, join, read_section, read_yaml, show
from gac.errors import ConfigError

_MEMBERS = "CONFIG_API_SERVER"
_STRATEGIES = "'every_step' or 'threshold'"
_HUB_NAME = r"[\w-][\w.-]*(/[\w.-]+)?"
_SIZE = r"[0-9]+(\.[0-9]+)? *((?i:[KMG]iB)|[KMGkmg]B)"

# Each field's `description` completes "must be ..." in an error; a Literal speaks for itself.
Count = Annotated[int, Field(ge=1, description="a whole number, at least 1")]
OptionalCount = Annotated[int | None, Field(ge=1, description="a whole number, at least 1")]
OptionalText = Annotated[str | None, Field(min_length=1, description="text (digits in quotes)")]
Flag = Annotated[bool, Field(description="true or false")]
Probability = Annotated[float, Field(ge=0, le=1, description="a number from 0 to 1")]


def _check_name(name: str) -> str:
    """A name stands in URLs (`gac/<name>`), logs and metrics, so it has to be plain."""
    if not name or name != name.strip() or "/" in name or not name.isprintable():
        raise ValueError
    return name


def _check_num_gpus(num_gpus: float) -> float:
    """Ray shares one GPU by fractions, but hands out several only whole."""
    if num_gpus > 1 and not num_gpus.is_integer():
        raise ValueError
    return num_gpus


def _check_max_memory(sizes: Mapping[int | str, str]) -> Mapping[int | str, str]:
    """Sizes as accelerate reads them, except `24Gb`, which means bits there."""
    for device, size in sizes.items():
        is_device = device == "cpu" or (isinstance(device, int) and device >= 0)
        if not is_device or not re.fullmatch(_SIZE, size):
            raise ValueError
    return sizes


MaxMemory = Annotated[Mapping[int | str, str], AfterValidator(_check_max_memory)]


class _Section(BaseModel):
    """What all parts of the configuration share: immutable, no conversions, no unknown keys."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", validate_by_name=True, allow_inf_nan=False
    )


class MemberConfig(_Section):
    """One entry of `CONFIG_API_SERVER`; YAML's `weight` (a path or a hub name) is `path` here."""

    path: str = Field(alias="weight", min_length=1, description="a model's folder or hub name")
    name: Annotated[str, AfterValidator(_check_name)] = Field(
        description="text without '/' or surrounding spaces"
    )
    score: float = Field(default=100.0, gt=0, description="a number above 0")
    priority: Literal["primary", "supportive"] = "supportive"
    quantization: Literal["none", "8bit", "4bit"] = "none"
    max_memory: MaxMemory | None = Field(
        default=None,
        description="a mapping of GPU indexes (0, 1, ...) or cpu to sizes such as '24GiB' "
        "(units: GiB, MiB, KiB, GB, MB, KB)",
    )
    num_gpus: Annotated[float, AfterValidator(_check_num_gpus)] = Field(
        default=0.0, ge=0, description="0, a fraction of a GPU such as 0.5, or whole GPUs"
    )
    num_cpus: float = Field(default=0.0, ge=0, description="0 or more")
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    revision: OptionalText = None
    trust_remote_code: Flag = False
    max_model_len: OptionalCount = None


class EveryStepConfig(_Section):
    """All members are asked at every step."""

    name: Literal["every_step"] = "every_step"


class ThresholdConfig(_Section):
    """The gate is asked first; the others only where its confidence is not above the threshold.

    `below` says what then decides: `ensemble` all members, `replace` the others without the gate.
    """

    name: Literal["threshold"] = "threshold"
    gate: str = Field(description="the name of a member")
    threshold: Probability
    below: Literal["ensemble", "replace"] = "ensemble"


StrategyConfig = EveryStepConfig | ThresholdConfig


class EngineConfig(_Section):
    """The engine's limits."""

    retokenize: Literal["canonical", "append"] = "canonical"
    max_sequences: Count = 64
    """Sequences that run at once."""
    max_queued: Count = 1024
    """Sequences that wait for a place."""
    kv_cache_tokens: OptionalCount = None
    """Bound of each member's K/V cache; none: max_sequences x min(the member's context, 2048)."""
    max_batch_tokens: Count = 2048
    """Tokens in one forward pass; a longer prompt is computed in parts."""
    max_new_tokens_limit: Count = 8192
    """A request that asks for more is refused."""


class ServerConfig(_Section):
    """Where the HTTP server listens, and how much it takes in one request."""

    host: str = Field(default="127.0.0.1", min_length=1, description="an address or host name")
    port: int = Field(default=8000, ge=0, le=65535, description="a whole number, 0 to 65535")
    max_body_bytes: Count = 8 * 2**20
    max_conversations: Count = 256


class RayConfig(_Section):
    """Whether members are Ray actors (else they live in this process), and whose Ray it is."""

    enabled: Flag = True
    address: OptionalText = None
    transport: Literal["sockets", "ray"] = "sockets"


class Config(_Section):
    """The whole configuration, resolved; aliases are the keys of the YAML."""

    norm_type: Literal["average", "score"] = Field("average", alias="NORM_TYPE_API_SERVER")
    threshold: Probability = Field(1.0, alias="THRESHOLD_API_SERVER")
    members: tuple[MemberConfig, ...] = Field(alias="CONFIG_API_SERVER", min_length=1)
    strategy: StrategyConfig = EveryStepConfig()
    engine: EngineConfig = EngineConfig()
    server: ServerConfig = ServerConfig()
    ray: RayConfig = RayConfig()

    @property
    def weights(self) -> dict[str, float]:
        """Each member's share by name: equal, or score / sum of scores; they sum to 1."""
        # Fractions: huge scores cannot overflow, and each weight is rounded only once.
        is_scored = self.norm_type == "score"
        shares = {m.name: Fraction(m.score if is_scored else 1.0) for m in self.members}
        total = sum(shares.values())
        return {name: float(share / total) for name, share in shares.items()}


class _File(_Section):
    """The top level of the YAML; its parts are read one by one, so that all errors are found."""

    NORM_TYPE_API_SERVER: Literal["average", "score"] = "average"
    THRESHOLD_API_SERVER: Probability = 1.0
    CONFIG_API_SERVER: list[Any] = Field(min_length=1, description="a list of one or more members")
    strategy: Any = None
    engine: Any = None
    server: Any = None
    ray: Any = None


def load_config(path: Path) -> Config:
    """The configuration in a YAML file; raises ConfigError with everything that is wrong in it."""
    return parse_config(read_yaml(path), str(path), path.parent)


def parse_config(data: object, source: str, folder: Path) -> Config:
    """The configuration in parsed YAML; errors name `source`, relative paths start at `folder`."""
    if not isinstance(data, dict):
        what = "is empty" if data is None else "is not a mapping of keys to values"
        raise ConfigError(f"{source}: {what}; it needs at least {_MEMBERS}")
    problems: list[str] = []
    # Where one part has an error the others are still read, so that all errors show at once.
    file = attempt(problems, read_section, _File, data, "")
    members = _read_members(data.get(_MEMBERS), folder, problems)
    threshold = file.THRESHOLD_API_SERVER if file else 1.0
    strategy = attempt(problems, parse_strategy, data.get("strategy"), members, threshold)
    engine = attempt(problems, read_section, EngineConfig, data.get("engine"), "engine")
    server = attempt(problems, read_section, ServerConfig, data.get("server"), "server")
    ray = attempt(problems, read_section, RayConfig, data.get("ray"), "ray")
    if problems or not (file and strategy and engine and server and ray):
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
    )


def parse_strategy(
    value: object, members: Sequence[MemberConfig], threshold: float, where: str = "strategy"
) -> StrategyConfig:
    """The strategy that a name, an object or None (the default) asks for, among these members.

    `threshold` stands in where a strategy needs one and names none; `where` is the key in errors.
    """
    if value is None:
        has_gate = any(member.priority == "primary" for member in members)
        value = "threshold" if has_gate else "every_step"
    fields = {"name": value} if isinstance(value, str) else value
    if not isinstance(fields, dict):
        raise ConfigError(f"{where}: {show(value)} is not allowed; must be a name or a mapping")
    match fields.get("name"):
        case "every_step":
            return read_section(EveryStepConfig, fields, where)
        case "threshold":
            return _read_threshold(fields, members, threshold, where)
        case name:
            key = where if isinstance(value, str) else join(where, "name")
            raise ConfigError(f"{key}: {show(name)} is not allowed; must be {_STRATEGIES}")


def describe(config: Config) -> str:
    """The resolved configuration as YAML that parses to the same configuration."""
    data = config.model_dump(by_alias=True, exclude_none=True)
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True)


def resolve_path(weight: str, config_dir: Path) -> str:
    """An existing folder (next to the config file, else from here), absolute; else a hub name."""
    if weight.startswith("["):
        what = "the example's placeholder; must be the model's folder or its hub name, such as"
        raise ConfigError(f"{show(weight)} is {what} openchat/openchat-3.5-0106")
    path = os.path.expanduser(weight)
    for candidate in (os.path.join(config_dir, path), path):
        if os.path.isdir(candidate):
            return os.path.abspath(candidate)
        if os.path.isfile(candidate):
            raise ConfigError(f"{show(weight)} is a file; must be the folder that it lies in")
    if re.fullmatch(_HUB_NAME, weight):  # never what begins as a path does: / . ~
        return weight
    what = f"there is no such folder (looked from {config_dir} and {os.getcwd()})"
    raise ConfigError(f"{show(weight)}: {what}, and no hub name looks like this")


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
            problems.append(f"{where}.name: {show(name)} is taken; every member needs its own")
        elif member:
            members.append(member)
    gates = [show(member.name) for member in members if member.priority == "primary"]
    if len(gates) > 1:
        problems.append(f"{_MEMBERS}: {' and '.join(gates)} are primary; only one member may be")
    return members if len(members) == len(items) else []


def _read_member(item: object, where: str, folder: Path) -> MemberConfig:
    member = read_section(MemberConfig, item, where)
    try:
        return member.model_copy(update={"path": resolve_path(member.path, folder)})
    except ConfigError as error:
        raise ConfigError(f"{where}.weight: {error.message}") from error


def _read_threshold(
    fields: Mapping[Any, Any], members: Sequence[MemberConfig], threshold: float, where: str
) -> ThresholdConfig:
    """Fills in the gate and the threshold, and checks that the gate is one of the members."""
    # The primary, else the highest score; of equal ones `max` takes the first.
    gate = max(members, key=lambda m: (m.priority == "primary", m.score), default=None)
    filled = {"gate": gate.name if gate else "", "threshold": threshold, **fields}
    strategy = read_section(ThresholdConfig, filled, where)
    names = [member.name for member in members]
    if names and strategy.gate not in names:
        allowed = " or ".join(map(show, names))
        raise ConfigError(f"{where}.gate: {show(strategy.gate)} is not allowed; must be {allowed}")
    if len(names) == 1 and strategy.below == "replace":
        raise ConfigError(f"{where}.below: 'replace' needs a second member, to replace the gate")
    return strategy
