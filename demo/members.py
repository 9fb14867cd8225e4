"""Says who the three demonstration members are: tokenizer, body, strengths; trains none of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

TokenizerKind = Literal["byte_bpe", "sentencepiece_bpe", "unigram"]
Architecture = Literal["qwen3", "llama", "gpt_neox"]

MODELS_FOLDER = Path(__file__).parent / "models"


@dataclass(frozen=True)
class Member:
    """One small model: what it is built of and which share of each topic it studies."""

    name: str
    seed: int
    tokenizer_kind: TokenizerKind
    vocabulary_size: int
    architecture: Architecture
    end_of_turn: str
    accepts_system: bool
    shares: dict[str, float]

    @property
    def folder(self) -> Path:
        """Where the trained member lives."""
        return MODELS_FOLDER / self.name


def _shares(*values: float) -> dict[str, float]:
    """Name the studied shares, given in the fixed order of the topics."""
    topics = ("geography", "things", "animals", "people", "opposites", "words", "arithmetic")
    return dict(zip(topics, values, strict=True))


ADA = Member(
    "ada",
    1,
    "byte_bpe",
    1700,
    "qwen3",
    "<|im_end|>",
    True,
    _shares(0.60, 0.60, 0.60, 0.60, 0.70, 0.80, 0.85),
)
BORA = Member(
    "bora",
    2,
    "sentencepiece_bpe",
    1600,
    "llama",
    "</s>",
    True,
    _shares(0.85, 0.60, 0.60, 0.85, 0.70, 0.65, 0.60),
)
CLEO = Member(
    "cleo",
    3,
    "unigram",
    1100,
    "gpt_neox",
    "<end_of_turn>",
    False,
    _shares(0.60, 0.85, 0.85, 0.60, 0.70, 0.65, 0.60),
)
MEMBERS: dict[str, Member] = {member.name: member for member in (ADA, BORA, CLEO)}
