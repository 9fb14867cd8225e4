"""Real tokenizers, where the machine has them; each is read once."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from gac.vocabulary.member_vocabulary import MemberVocabulary, read_member_vocabulary

SHARED = Path(__file__).parents[2].parent / "shared"
LOSSLESS = (
    "falcon-65k",
    "gpt2-50k",
    "llm-jp-v3.1-unigram-100k",
    "mistral-7b-v0.1-32k",
    "mistral-tekken-131k",
    "phi-3-32k",
    "qwen2-152k",
    "stories260K",
    "tinystories-instruct-3M-chat",
)
STOPS = {"falcon-65k": 11, "gpt2-50k": 50256, "phi-3-32k": 32007, "qwen2-152k": 151645}
STOPS |= {"tinystories-instruct-3M-chat": 14018}
PADDING = 5


@dataclass(frozen=True)
class RealTokenizer:
    """A tokenizer as its file has it, and as this project reads it."""

    text: str
    tokenizer: Tokenizer
    vocabulary: MemberVocabulary
    special: frozenset[int]
    size: int


def shared_file(name: str) -> Path:
    for kind in ("tokenizers", "models"):
        if (path := SHARED / kind / name / "tokenizer.json").exists():
            return path
    pytest.skip(f"the tokenizer {name} is not on this machine")


@cache
def real_tokenizer(name: str) -> RealTokenizer:
    text = shared_file(name).read_text("utf-8")
    tokenizer = Tokenizer.from_str(text)
    size = tokenizer.get_vocab_size(with_added_tokens=True)
    special = {t["id"] for t in json.loads(text)["added_tokens"] if t["special"]}
    vocabulary = read_member_vocabulary(name, text, {STOPS.get(name, 2)}, size + PADDING)
    return RealTokenizer(text, tokenizer, vocabulary, frozenset(special), size)


@pytest.fixture(params=LOSSLESS)
def real(request: pytest.FixtureRequest) -> RealTokenizer:
    """Every lossless tokenizer in turn."""
    return real_tokenizer(request.param)


@pytest.fixture(scope="session")
def real_named() -> Callable[[str], RealTokenizer]:
    """One tokenizer by its folder's name."""
    return real_tokenizer


@pytest.fixture(scope="session")
def shared_text() -> Callable[[str], str]:
    """The `tokenizer.json` in a shared folder."""
    return lambda name: shared_file(name).read_text("utf-8")
