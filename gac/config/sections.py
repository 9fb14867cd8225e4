"""The sections of a configuration as frozen values, and what each key may hold.

Knows how keys hang together; knows nothing of files, models, GPUs or ports on this machine.
"""

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, SerializeAsAny

from gac.config.catalogue import strategies
from gac.config.explain import must_be
from gac.config.fields import Count, Flag, OptionalCount, OptionalText, Probability, Section
from gac.config.methods import StrategyConfig

_SIZE = r"[0-9]+(\.[0-9]+)? *((?i:[KMG]iB)|[KMGkmg]B)"


def _check_name(name: str) -> str:
    """A name stands in requests, logs and errors, so it has to be plain."""
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


class MemberConfig(Section):
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
        default=0.0,
        ge=0,
        description="0, a fraction of a GPU such as 0.5, or whole GPUs; with 0 the member runs on "
        "the CPU, as Ray gives it no GPU",
    )
    num_cpus: float = Field(default=0.0, ge=0, description="0 or more")
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    revision: OptionalText = None
    trust_remote_code: Flag = False
    chat_template: Annotated[str | None, Field(min_length=1, description="a Jinja file")] = None
    """Replaces the model's own, or makes up for its lack."""
    max_model_len: OptionalCount = None
    num_threads: OptionalCount = None


class SpeculationConfig(Section):
    """Who writes ahead where several members decide every token, and at most how far.

    It changes how fast a text is written, never what is written.
    """

    drafter: str = Field(default="none", description="none, auto or the name of a member")
    max_tokens: Count = 8


class EngineConfig(Section):
    """The engine's limits, and what it does for speed."""

    retokenize: Literal["canonical", "append"] = "canonical"
    max_sequences: Count = 64
    """Sequences that run at once."""
    max_queued: Count = 1024
    """Sequences that wait for a place."""
    kv_cache_tokens: OptionalCount = None
    """Bound of each member's K/V cache; none: max_sequences x min(the member's context, 2048)."""
    max_batch_tokens: Count = 2048
    """New tokens in one batch of a member; longer prompts are told in parts."""
    prefill_chunk: OptionalCount = None
    """Prompt tokens in one batch of a member while other texts decode; none: 64, on a GPU 512."""
    max_new_tokens_limit: Count = 8192
    """A request that asks for more is refused."""
    speculation: SpeculationConfig = SpeculationConfig()
    cuda_graphs: Flag = False
    """Members on a CUDA device record small forward passes as CUDA graphs and replay them.

    For unquantised Llama, Mistral, Qwen2 and Qwen3 on one GPU.  Tested by emulation on a CPU only;
    it has not run on a GPU yet.  A member uses graphs if a check at load finds the same logits.
    """
    load_timeout_s: Count = 1800
    """Members of which none has come further in loading for so long are taken to hang."""


class ServerConfig(Section):
    """Where the HTTP server listens, how much it takes in one request, and what it logs."""

    host: str = Field(default="127.0.0.1", min_length=1, description="an address or host name")
    port: int = Field(default=8000, ge=0, le=65535, description="a whole number, 0 to 65535")
    max_body_bytes: Count = 8 * 2**20
    max_conversations: Count = 256
    log_format: Literal["text", "json"] = "text"
    access_log: Flag = False
    tracing: Flag = False


class RayConfig(Section):
    """Whether members are Ray actors (else they live in this process), and whose Ray it is."""

    enabled: Flag = True
    address: OptionalText = None
    transport: Literal["sockets", "ray"] = "sockets"


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Wish = Literal["strategy", "threshold", "weights", "aggregation", "members"]


def _strategy_names(value: object) -> object:
    """A list of strategies that there are."""
    known = tuple(strategies().declared)
    if not isinstance(value, list | tuple) or any(name not in known for name in value):
        raise must_be(f"a list of {', '.join(known)} (or empty)")
    return tuple(value)


class RequestsConfig(Section):
    """What a request may choose of how its text is written; by default everything."""

    may_choose: Annotated[tuple[Wish, ...], BeforeValidator(_as_tuple)] = Field(
        default=get_args(Wish),
        description=f"a list of {', '.join(get_args(Wish))} (or empty)",
    )
    strategies: Annotated[tuple[str, ...], BeforeValidator(_strategy_names)] = Field(
        default_factory=lambda: tuple(strategies().declared), description="a list of strategies"
    )


def _every_step() -> StrategyConfig:
    return strategies().read({"name": "every_step"}, "strategy")


class Config(Section):
    """The whole configuration, resolved; aliases are the keys of the YAML."""

    norm_type: Literal["average", "score"] = Field("average", alias="NORM_TYPE_API_SERVER")
    threshold: Probability | None = Field(None, alias="THRESHOLD_API_SERVER")
    """That of a strategy which has one and does not say it; none: the strategy's own default."""
    members: tuple[MemberConfig, ...] = Field(alias="CONFIG_API_SERVER", min_length=1)
    strategy: SerializeAsAny[StrategyConfig] = Field(default_factory=_every_step)
    engine: EngineConfig = EngineConfig()
    server: ServerConfig = ServerConfig()
    ray: RayConfig = RayConfig()
    requests: RequestsConfig = Field(default_factory=RequestsConfig)

    @property
    def weights(self) -> dict[str, float]:
        """Each member's share by name: equal, or score / sum of scores; they sum to 1."""
        # Fractions: huge scores cannot overflow, and each weight is rounded only once.
        is_scored = self.norm_type == "score"
        shares = {m.name: Fraction(m.score if is_scored else 1.0) for m in self.members}
        total = sum(shares.values())
        return {name: float(share / total) for name, share in shares.items()}
