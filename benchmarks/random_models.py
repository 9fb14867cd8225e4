"""Llamas of a chosen size with random weights and 32k-token byte-level vocabularies, on disk.

Random weights cost what trained ones cost.  Their distributions are sharpened (the final norm is
scaled), so that a gate is unsure about as often as the paper's gates are.
"""

import json
import random
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

VOCABULARY = 32_000
_END = "<|end|>"


@dataclass(frozen=True)
class Shape:
    """The size of a Llama."""

    hidden: int
    layers: int
    heads: int
    feed_forward: int


SHAPES = {
    "15m": Shape(hidden=288, layers=6, heads=6, feed_forward=768),
    "110m": Shape(hidden=768, layers=12, heads=12, feed_forward=2048),
}


def make_random_llama(folder: Path, shape: Shape, seed: int, sharpness: float) -> Path:
    """Write a model and its tokenizer to a folder, and return it."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=shape.hidden,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=VOCABULARY - 1,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        model.model.norm.weight.mul_(sharpness)
        # Without attention's and the layers' own contributions a step would repeat its token.
        for parameter in model.model.layers.parameters():
            parameter.mul_(4.0 if parameter.dim() > 1 else 1.0)
    model.save_pretrained(folder)
    _tokenizer(seed).save_pretrained(folder)
    return folder


def _tokenizer(seed: int) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer.from_str(json.dumps(_definition(seed)))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=_END)


def _definition(seed: int) -> dict[str, object]:
    """A byte-level BPE of all bytes and of words made of syllables, with and without a space."""
    draw = random.Random(seed)
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    characters = [chr(byte) for byte in printable] + [chr(0x100 + n) for n in range(68)]
    vocabulary = {character: place for place, character in enumerate(characters)}
    merges: list[tuple[str, str]] = []
    while len(vocabulary) < VOCABULARY - 1:
        word = draw.choice(["\u0120", ""]) + "".join(
            draw.choice("bcdfghklmnprstvz") + draw.choice("aeiou")
            for _ in range(draw.choice([1, 2, 2, 3]))
        )
        left = word[0]
        for right in word[1:]:
            if left + right not in vocabulary and len(vocabulary) < VOCABULARY - 1:
                vocabulary[left + right] = len(vocabulary)
                merges.append((left, right))
            left += right
            if left not in vocabulary:
                break
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    end = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {
        "version": "1.0",
        "added_tokens": [{"id": VOCABULARY - 1, "content": _END, "special": True, **end}],
        "pre_tokenizer": {**level, "use_regex": True},
        "decoder": {**level, "use_regex": True},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": merges},
    }
