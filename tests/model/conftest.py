"""Tiny random models of many families, built in memory."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

NUM_IDS = 61
SHARED_MODELS = Path(__file__).parents[2].parent / "shared" / "models"

_SIZES: dict[str, Any] = {
    "vocab_size": NUM_IDS,
    "max_position_embeddings": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    # Far from uniform logits, so that a wrong mask or position shows.
    "initializer_range": 0.3,
    "pad_token_id": None,
}
_OLD_SIZES: dict[str, Any] = {
    "vocab_size": NUM_IDS,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "initializer_range": 0.3,
}


def _config(name: str) -> Any:
    t = transformers
    longrope = {
        "rope_type": "longrope",
        "rope_theta": 1e4,
        "short_factor": [1.0, 1.0, 1.0, 1.0],
        "long_factor": [2.0, 3.0, 4.0, 5.0],
        "original_max_position_embeddings": 12,
    }
    sliding_half = {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}
    build: dict[str, Callable[[], Any]] = {
        "llama": lambda: t.LlamaConfig(**_SIZES),
        "qwen2": lambda: t.Qwen2Config(**_SIZES),
        "qwen2-half-sliding": lambda: t.Qwen2Config(**sliding_half, **_SIZES),
        "mistral-sliding": lambda: t.MistralConfig(sliding_window=5, **_SIZES),
        "gemma2": lambda: t.Gemma2Config(
            sliding_window=4, head_dim=8, query_pre_attn_scalar=8, **_SIZES
        ),
        "phi3-longrope": lambda: t.Phi3Config(
            rope_parameters=longrope, original_max_position_embeddings=12, **_SIZES
        ),
        "gpt-neox": lambda: t.GPTNeoXConfig(
            max_position_embeddings=64, intermediate_size=48, **_OLD_SIZES
        ),
        "gpt2": lambda: t.GPT2Config(
            vocab_size=NUM_IDS,
            n_positions=64,
            n_embd=32,
            n_layer=2,
            n_head=4,
            initializer_range=0.3,
            eos_token_id=0,
            bos_token_id=0,
        ),
        "gpt-neo": lambda: t.GPTNeoConfig(
            vocab_size=NUM_IDS,
            max_position_embeddings=64,
            hidden_size=32,
            num_layers=2,
            num_heads=4,
            window_size=5,
            attention_types=[[["global", "local"], 1]],
            initializer_range=0.3,
            eos_token_id=0,
            bos_token_id=0,
        ),
        "bloom": lambda: t.BloomConfig(
            vocab_size=NUM_IDS, hidden_size=32, n_layer=2, n_head=4, initializer_range=0.3
        ),
        "mamba": lambda: t.MambaConfig(
            vocab_size=NUM_IDS, hidden_size=32, num_hidden_layers=2, initializer_range=0.3
        ),
    }
    return build[name]()


@cache
def tiny_model(name: str) -> Any:
    """The tiny model of a family, always with the same weights."""
    torch.set_num_threads(1)
    verbosity = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(_config(name)).eval()
    transformers.logging.set_verbosity(verbosity)
    return model.requires_grad_(False)


def fresh_logits(model: Any, ids: Sequence[int]) -> torch.Tensor:
    """The oracle: logits [T, Vm] of one plain forward pass."""
    with torch.inference_mode():
        return model(input_ids=torch.tensor([list(ids)]), use_cache=False).logits[0].float()


@pytest.fixture(scope="session")
def tiny() -> Callable[[str], Any]:
    """Tiny models by family name."""
    return tiny_model


@pytest.fixture(scope="session")
def fresh() -> Callable[[Any, Sequence[int]], torch.Tensor]:
    """The oracle for a model and ids."""
    return fresh_logits


@pytest.fixture(scope="session")
def shared_model() -> Callable[[str], Path]:
    """The directory of a small trained model; skips where it is absent."""

    def find(name: str) -> Path:
        path = SHARED_MODELS / name
        if not path.is_dir():
            pytest.skip(f"the trained model {name} is not on this machine")
        return path

    return find
