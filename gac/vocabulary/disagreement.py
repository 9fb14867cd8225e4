"""Whether two readings of a tokenizer agree, on the samples of the self-test."""

from collections.abc import Callable, Sequence
from pathlib import Path

from sentencepiece import SentencePieceProcessor
from tokenizers import Tokenizer

from gac.errors import VocabularyError
from gac.vocabulary.added_tokens import METASPACE
from gac.vocabulary.self_test import SAMPLES

SENTENCEPIECE_SAMPLES = tuple(
    sample for sample in SAMPLES if sample[0] != " " and METASPACE not in sample
)
"""Those that do not start with a space (which `tokenizers` takes for the dummy prefix), and do not
hold control look-alikes (which a SentencePiece model itself always reads as text)."""

Encode = Callable[[str], list[int]]
"""A text to ids, without BOS and the like: those the configuration may rightly change."""


def encoder_of(tokenizer_json: str) -> Encode:
    """What a `tokenizer.json` makes of texts."""
    tokenizer = Tokenizer.from_str(tokenizer_json)
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def encode(text: str) -> list[int]:
        ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    return encode


def sentencepiece_encoder(path: Path) -> Encode:
    """What a SentencePiece model makes of texts; raises VocabularyError if the file is none."""
    try:
        processor = SentencePieceProcessor(str(path))
    except (RuntimeError, OSError) as error:
        raise VocabularyError(f"{path} is not a SentencePiece model") from error

    def encode(text: str) -> list[int]:
        ids: list[int] = processor.encode(text)
        return ids

    return encode


def first_difference(
    one: Encode, other: Encode, samples: Sequence[str] = SAMPLES
) -> tuple[str, list[int], list[int]] | None:
    """The first sample that the two encode differently, and both results."""
    for sample in samples:
        if (left := one(sample)) != (right := other(sample)):
            return sample, left, right
    return None
