"""Byte-level BPE tokenizers of made-up words, of any size, that share as much as is asked for.

Knows nothing of models.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

END = "<|end|>"
_SPACE = "\u0120"
_CAPITALS = "BCDFGHKLMNPRSTVZ"
_NUM_BYTES = 256


@dataclass(frozen=True)
class Vocabulary:
    """`size` entries: all bytes, `num_shared` words that every vocabulary has, own words, one END.

    Own words begin with a capital letter that only this `seed` (0 to 15) has, so that two
    vocabularies have the bytes and the smaller `num_shared` in common, and nothing else.
    """

    size: int
    num_shared: int
    seed: int = 0


def union_size(one: Vocabulary, other: Vocabulary) -> int:
    """The size of the union of two vocabularies of different seeds."""
    return one.size + other.size - _NUM_BYTES - min(one.num_shared, other.num_shared) - 1


def pair_with_union(size: int) -> tuple[Vocabulary, Vocabulary]:
    """Two vocabularies of equal size with a union of `size`.

    Each has 0.7 of the union: about what Llama 3 (128k) and Qwen 2.5 (152k) have of theirs.
    """
    own = round(0.7 * size)
    num_shared = 2 * own - _NUM_BYTES - 1 - size
    return Vocabulary(own, num_shared, 1), Vocabulary(own, num_shared, 2)


def make_tokenizer(vocabulary: Vocabulary) -> PreTrainedTokenizerFast:
    """A tokenizer with these entries; its END is the last id."""
    tokenizer = Tokenizer.from_str(json.dumps(_definition(vocabulary)))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END)


def _definition(vocabulary: Vocabulary) -> dict[str, object]:
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    characters = [chr(byte) for byte in printable] + [chr(0x100 + n) for n in range(68)]
    ids = {character: place for place, character in enumerate(characters)}
    merges: list[tuple[str, str]] = []
    _add_words(ids, merges, _words(random.Random(0), ""), _NUM_BYTES + vocabulary.num_shared)
    capital = _CAPITALS[vocabulary.seed]
    _add_words(ids, merges, _words(random.Random(capital), capital), vocabulary.size - 1)
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    end = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {
        "version": "1.0",
        "added_tokens": [{"id": vocabulary.size - 1, "content": END, "special": True, **end}],
        "pre_tokenizer": {**level, "use_regex": True},
        "decoder": {**level, "use_regex": True},
        "model": {"type": "BPE", "vocab": ids, "merges": merges},
    }


def _add_words(
    ids: dict[str, int], merges: list[tuple[str, str]], words: Iterator[str], size: int
) -> None:
    """Add words, each with all its beginnings, until there are `size` entries."""
    while len(ids) < size:
        word = next(words)
        for end in range(2, len(word) + 1):
            if word[:end] not in ids and len(ids) < size:
                ids[word[:end]] = len(ids)
                merges.append((word[: end - 1], word[end - 1]))


def _words(draw: random.Random, capital: str) -> Iterator[str]:
    """Words of one to three syllables behind a space.

    So nearly every sequence of ids is what the tokenizer itself would write, as in trained models:
    a word is one token, and words are not merged.
    """
    syllables = [consonant + vowel for consonant in "bcdfghklmnprstvz" for vowel in "aeiou"]
    while True:
        count = draw.choice([1, 2, 2, 3, 3, 3])
        yield _SPACE + capital + "".join(draw.choices(syllables, k=count))
