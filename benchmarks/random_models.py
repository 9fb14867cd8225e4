"""Llamas of a chosen size with random weights and made-up vocabularies, on disk.

Random weights cost what trained ones cost.  Their distributions are sharpened (the final norm is
scaled), so that a gate is unsure about as often as the paper's gates are.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from benchmarks.vocabularies import Vocabulary, make_tokenizer

SHARPNESS = 64.0
"""With it a random gate's confidence is below 0.5 for about one token in ten."""
_LOUDNESS = 4.0
"""Without attention's and the layers' own contributions a step would repeat its token."""


@dataclass(frozen=True)
class Shape:
    """The size of a Llama."""

    hidden: int
    layers: int
    heads: int
    feed_forward: int

    @property
    def layer_parameters(self) -> int:
        """Of one layer: four projections of attention, three of the feed-forward, two norms."""
        return self.hidden * (4 * self.hidden + 3 * self.feed_forward + 2)

    def num_parameters(self, vocabulary_size: int) -> int:
        """Of the whole model; the head is tied to the embeddings."""
        return self.hidden * (vocabulary_size + 1) + self.layers * self.layer_parameters


SHAPES = {
    "tiny": Shape(hidden=32, layers=2, heads=2, feed_forward=64),
    "15m": Shape(hidden=288, layers=6, heads=6, feed_forward=768),
    "110m": Shape(hidden=768, layers=12, heads=12, feed_forward=2048),
    "360m": Shape(hidden=1024, layers=24, heads=16, feed_forward=3072),
}
COMMON = Vocabulary(size=32_000, num_shared=31_000)
"""What members have that share one vocabulary."""
OTHER = Vocabulary(size=32_000, num_shared=16_000, seed=1)
"""Has half of `COMMON` and as much of its own."""


def make_random_llama(
    folder: Path,
    shape: Shape,
    seed: int,
    vocabulary: Vocabulary = COMMON,
    sharpness: float = SHARPNESS,
    max_length: int = 2048,
) -> Path:
    """Write a model and its tokenizer to a folder, and return it."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary.size,
        hidden_size=shape.hidden,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=max_length,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=vocabulary.size - 1,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        model.model.norm.weight.mul_(sharpness)
        _raise_voice(model.model.layers)
    model.save_pretrained(folder)
    make_tokenizer(vocabulary).save_pretrained(folder)
    return folder


def _raise_voice(layers: torch.nn.Module) -> None:
    for parameter in layers.parameters():
        parameter.mul_(_LOUDNESS if parameter.dim() > 1 else 1.0)


def layers_for(shape: Shape, vocabulary_size: int, num_parameters: int) -> int:
    """How many layers of a shape's own size make a model of about so many parameters."""
    missing = num_parameters - shape.num_parameters(vocabulary_size)
    return shape.layers + round(missing / shape.layer_parameters)


def grow_llama(folder: Path, base: Path, layers: int, seed: int, noise: float = 0.0) -> Path:
    """Write `base` with layers added on top, and return the folder.

    An added layer's output projections have random entries of this standard deviation.  Where
    `noise` is 0 it adds nothing: the model is the same function at the cost of a larger one.
    """
    torch.manual_seed(seed)
    small = LlamaForCausalLM.from_pretrained(base, dtype=torch.float32)
    config = LlamaConfig.from_pretrained(base, num_hidden_layers=layers)
    large = LlamaForCausalLM(config)
    num_kept = len(small.model.layers)
    with torch.no_grad():
        added = large.model.layers[num_kept:]
        _raise_voice(added)
        for layer in added:
            for projection in (layer.self_attn.o_proj, layer.mlp.down_proj):
                projection.weight.normal_(std=noise) if noise else projection.weight.zero_()
        large.load_state_dict(small.state_dict(), strict=False)
    large.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder
