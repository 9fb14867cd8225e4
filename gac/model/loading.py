"""Weights from a directory or the Hugging Face cache, ready to run.

Decides devices and number formats, checks that the checkpoint is complete, and says in one
sentence why a model cannot be loaded.  Knows neither tokenizers nor caches.
"""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
import transformers
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from gac.errors import MemberError
from gac.model.downloads import counting_bar
from gac.model.model_files import broken_json

logger = logging.getLogger(__name__)

OnProgress = Callable[[str, float], None]

_DTYPES = {name: getattr(torch, name) for name in ("float32", "bfloat16", "float16")}
_LENGTH_NAMES = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length")
_UNLIMITED = 2**31 - 1  # ALiBi and recurrent models name no length


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Which weights, and how they are to be held.

    `dtype` is "auto" (the checkpoint's on a GPU, float32 on a CPU) or a name; `device` is "auto",
    "cpu" or a CUDA device; `max_memory` has GPU indexes from 0 or "cpu" as keys, sizes like "8GiB"
    as values; `num_threads` 0 leaves the process as it is.
    """

    path: str
    dtype: str = "auto"
    device: str = "auto"
    max_memory: Mapping[int | str, str] | None = None
    quantization: Literal["none", "8bit", "4bit"] = "none"
    revision: str | None = None
    trust_remote_code: bool = False
    max_model_len: int | None = None
    num_threads: int = 0


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in eval mode, and what has to be known to call it."""

    model: Any
    name: str
    device: torch.device
    """Where its input goes."""
    dtype: torch.dtype
    max_length: int
    """Ids in a context: a hard limit."""
    num_logits: int
    num_ids: int
    is_quantized: bool

    @property
    def num_bytes(self) -> int:
        """Of all weights and buffers; what is shared, such as tied embeddings, counts once."""
        tensors = (*self.model.parameters(), *self.model.buffers())
        return sum({id(tensor): int(tensor.nbytes) for tensor in tensors}.values())


def load_model(spec: ModelSpec, on_progress: OnProgress | None = None) -> LoadedModel:
    """The model of a spec, after a short warm-up.

    `on_progress` is told the stage ("download", "weights" or "warm-up") and its fraction.

    Raises:
        MemberError: naming the path and the cause.
    """
    report = on_progress or (lambda stage, fraction: None)
    if spec.num_threads > 0:
        torch.set_num_threads(spec.num_threads)
    report("weights", 0.0)
    model = _read(spec, report)
    report("warm-up", 0.0)
    try:
        loaded = as_loaded(model, spec.path, spec.max_model_len)
    except MemberError:
        raise
    except Exception as error:
        how = "" if spec.quantization == "none" else f" in {spec.quantization}"
        reason = f"was loaded{how} but cannot run: {_first_line(error)}"
        raise MemberError(f"{spec.path} {reason}") from error
    return loaded


def _read(spec: ModelSpec, report: OnProgress) -> Any:
    """The model with all its weights, none of them made up."""
    arguments = {**_placement(spec), **_quantization(spec)}
    load: Any = AutoModelForCausalLM.from_pretrained
    try:
        with _progress(lambda fraction: report("weights", fraction)):
            model, info = load(
                os.path.expanduser(spec.path),
                revision=spec.revision,
                trust_remote_code=spec.trust_remote_code,
                output_loading_info=True,
                tqdm_class=counting_bar(lambda fraction: report("download", fraction)),
                ignore_mismatched_sizes=True,  # refused below, with names and sizes
                **arguments,
            )
    except Exception as error:  # configs, checkpoints and remote code may raise anything
        raise MemberError(f"cannot load {spec.path}: {_cause(spec, error)}") from error
    # transformers only warns of these, and fills weights that it lacks with random numbers.
    if info["mismatched_keys"]:
        raise MemberError(f"cannot load {spec.path}: {_mismatched(info['mismatched_keys'])}")
    if info["missing_keys"]:
        raise MemberError(f"cannot load {spec.path}: {_missing(info['missing_keys'])}")
    if info["unexpected_keys"]:
        first, count = min(info["unexpected_keys"]), len(info["unexpected_keys"])
        message = "%s: config.json has no place for %d weights of the checkpoint, such as %s"
        logger.warning(message, spec.path, count, first)
    return model


@torch.inference_mode()
def as_loaded(model: Any, name: str = "model", max_model_len: int | None = None) -> LoadedModel:
    """Put a causal language model into eval mode, run it on two ids, and describe it.

    Raises:
        MemberError: `max_model_len` exceeds what the model can attend to, or the model can write
            ids that it cannot read.
    """
    model.eval()
    limit = _max_length(model.config)
    if max_model_len is not None and max_model_len > limit:
        raise MemberError(f"{name}: max_model_len {max_model_len} exceeds the model's {limit}")
    embeddings = model.get_input_embeddings().weight
    device = embeddings.device
    if device.type == "meta":  # offloaded: accelerate brings it to where its first layer runs
        device = torch.device(next(iter(model.hf_device_map.values())))
    logits = model(input_ids=torch.zeros(1, 2, dtype=torch.long, device=device)).logits
    num_ids, num_logits = embeddings.shape[0], logits.shape[-1]
    if num_ids < num_logits:
        raise MemberError(
            f"{name}: it gives {num_logits} logits, but has only {num_ids} embeddings"
        )
    return LoadedModel(
        model=model,
        name=name,
        device=device,
        dtype=model.dtype,
        max_length=max_model_len or limit,
        num_logits=num_logits,
        num_ids=num_ids,
        is_quantized=getattr(model, "quantization_method", None) is not None,
    )


def _max_length(config: Any) -> int:
    """The smallest context length that a config names."""
    text = config.get_text_config(decoder=True)
    lengths = [getattr(text, name, None) for name in _LENGTH_NAMES]
    return min((n for n in lengths if isinstance(n, int) and n > 0), default=_UNLIMITED)


def _placement(spec: ModelSpec) -> dict[str, Any]:
    """Arguments that say where the weights go and in which number format."""
    if spec.dtype != "auto" and spec.dtype not in _DTYPES:
        allowed = ", ".join(["auto", *_DTYPES])
        raise MemberError(f"{spec.path}: dtype {spec.dtype!r} is not one of {allowed}")
    if spec.device.startswith("cuda") and not torch.cuda.is_available():
        raise MemberError(
            f"{spec.path}: device {spec.device!r} is wanted, but CUDA is not available"
        )
    memory = dict(spec.max_memory or {})
    wants_gpu = any(key != "cpu" for key in memory) or not memory
    on_gpu = torch.cuda.is_available() and spec.device != "cpu" and wants_gpu
    if not on_gpu and any(key != "cpu" for key in memory):
        logger.warning("%s runs on the CPU: its max_memory names GPUs and is ignored", spec.path)
        memory = {}
    device_map: object = "auto"
    if not memory and (not on_gpu or spec.device != "auto"):
        device_map = {"": spec.device if on_gpu else "cpu"}
    dtype = _DTYPES.get(spec.dtype, "auto" if on_gpu else torch.float32)
    return {"dtype": dtype, "device_map": device_map, "max_memory": memory or None}


def _quantization(spec: ModelSpec) -> dict[str, Any]:
    """Arguments that ask bitsandbytes for smaller weights."""
    if spec.quantization == "none":
        return {}
    config: Any = BitsAndBytesConfig
    if spec.quantization == "4bit":
        return {"quantization_config": config(load_in_4bit=True)}
    # One line per matrix and step otherwise, whenever activations are not float16.
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
    return {"quantization_config": config(load_in_8bit=True)}


@contextmanager
def _progress(report: Callable[[float], None]) -> Iterator[None]:
    """Report the fraction of weights that are placed, instead of drawing a bar."""

    def hook(factory: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if kwargs.get("desc") != "Loading weights" or not args:
            return factory(*args, **kwargs)
        return _counted(args[0], len(args[0]), report)

    previous = transformers.utils.logging.set_tqdm_hook(hook)
    try:
        yield
    finally:
        transformers.utils.logging.set_tqdm_hook(previous)


def _counted(items: Iterable[Any], total: int, report: Callable[[float], None]) -> Iterator[Any]:
    for done, item in enumerate(items, start=1):
        yield item
        report(done / total)


def _missing(names: Iterable[str]) -> str:
    first, *rest = sorted(names)
    more = f" and {len(rest)} more" if rest else ""
    return f"the checkpoint lacks the weights {first}{more}"


def _mismatched(weights: Iterable[tuple[str, Any, Any]]) -> str:
    (name, found, expected), *rest = sorted(weights, key=lambda weight: weight[0])
    sizes = f"{_size(expected)} by config.json but {_size(found)} in the checkpoint"
    more = f", and {len(rest)} more do not fit" if rest else ""
    return f"config.json does not fit the weights: {name} is {sizes}{more}"


def _size(shape: Iterable[int]) -> str:
    return " x ".join(map(str, shape))


def _cause(spec: ModelSpec, error: Exception) -> str:
    """Why loading failed, for a person, in half a sentence."""
    text, path = str(error), os.path.expanduser(spec.path)
    if not os.path.isdir(path):
        if os.path.isabs(path) or path.startswith("."):
            return "there is no such directory"
        if isinstance(error, OSError):
            return f"no such directory, nor can it be had from the Hub ({_first_line(error)})"
    if broken := broken_json(spec.path, spec.revision):
        return broken
    if type(error).__name__ == "SafetensorError":
        return f"a weight file is damaged or incomplete ({_first_line(error)})"
    if "does not recognize this architecture" in text:
        return (
            f"transformers {transformers.__version__} does not know its architecture ({text[:99]})"
        )
    if "for this kind of AutoModel" in text:
        return "it is not a causal language model"
    if "trust_remote_code" in text:
        return "it brings its own code, which only runs with trust_remote_code: true"
    return _first_line(error)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).strip().splitlines()]
    if not lines:
        return type(error).__name__
    # "Validation error for field 'x':" says what is wrong on the next line.
    return " ".join(lines[:2] if lines[0].endswith(":") else lines[:1]).rstrip(".")
