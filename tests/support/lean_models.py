"""Tiny random models of the families that the lean pass knows."""

import copy
from typing import Any

import torch
import transformers

SIZES: dict[str, Any] = {
    "vocab_size": 61,
    "max_position_embeddings": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.3,
    "pad_token_id": None,
}
YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0}
CONFIGS = {
    "llama": transformers.LlamaConfig(**SIZES),
    "llama-biases": transformers.LlamaConfig(attention_bias=True, mlp_bias=True, **SIZES),
    "llama-tied": transformers.LlamaConfig(tie_word_embeddings=True, **SIZES),
    "llama-yarn": transformers.LlamaConfig(rope_parameters=YARN, **SIZES),
    "mistral-sliding": transformers.MistralConfig(sliding_window=5, **SIZES),
    "qwen2-biases": transformers.Qwen2Config(**SIZES),
    "qwen2-half-sliding": transformers.Qwen2Config(
        use_sliding_window=True, sliding_window=4, max_window_layers=1, **SIZES
    ),
    "qwen3": transformers.Qwen3Config(head_dim=12, **SIZES),
    "qwen3-tied": transformers.Qwen3Config(head_dim=8, tie_word_embeddings=True, **SIZES),
}


def build(name: str) -> Any:
    torch.manual_seed(1)
    model = transformers.AutoModelForCausalLM.from_config(copy.deepcopy(CONFIGS[name])).eval()
    for path, parameter in model.named_parameters():
        if path.endswith("norm.weight") or path.endswith("bias"):
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    return model.requires_grad_(False)
