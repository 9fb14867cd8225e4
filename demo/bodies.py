"""Builds the three untrained model bodies, all with rotary positions; trains and saves nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformers import (
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from demo.members import Architecture

WIDTH = 128
LAYERS = 4
HEADS = 4
MOST_POSITIONS = 2048


def build_body(architecture: Architecture, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """A freshly initialised model for one vocabulary."""
    return _BUILDERS[architecture](len(tokenizer), _special_ids(tokenizer))


def _special_ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """The ids a model's configuration repeats from its tokenizer."""
    return {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _qwen3(vocabulary_size: int, special_ids: dict[str, Any]) -> PreTrainedModel:
    """Qwen3: grouped heads with normed queries and keys, gated feed-forward.

    Not Qwen2: for that type `AutoTokenizer` puts its own splitting and NFC normalizer in place of
    those in the saved tokenizer, which would then neither be lossless nor what was trained on.
    """
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=vocabulary_size,
            hidden_size=WIDTH,
            intermediate_size=336,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            num_key_value_heads=2,
            head_dim=WIDTH // HEADS,
            max_position_embeddings=MOST_POSITIONS,
            tie_word_embeddings=True,
            **special_ids,
        )
    )


def _llama(vocabulary_size: int, special_ids: dict[str, Any]) -> PreTrainedModel:
    """Llama: full heads, gated feed-forward."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary_size,
            hidden_size=WIDTH,
            intermediate_size=320,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            num_key_value_heads=HEADS,
            max_position_embeddings=MOST_POSITIONS,
            tie_word_embeddings=True,
            **special_ids,
        )
    )


def _gpt_neox(vocabulary_size: int, special_ids: dict[str, Any]) -> PreTrainedModel:
    """GPT-NeoX: attention and plain feed-forward side by side."""
    return GPTNeoXForCausalLM(
        GPTNeoXConfig(
            vocab_size=vocabulary_size,
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            use_parallel_residual=True,
            max_position_embeddings=MOST_POSITIONS,
            tie_word_embeddings=True,
            **special_ids,
        )
    )


_BUILDERS: dict[Architecture, Callable[[int, dict[str, Any]], PreTrainedModel]] = {
    "qwen3": _qwen3,
    "llama": _llama,
    "gpt_neox": _gpt_neox,
}
