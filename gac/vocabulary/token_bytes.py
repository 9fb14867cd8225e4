"""The bytes of every token, read from the tokenizer's definition and never from `decode()`.

`decode()` strips spaces, joins by rules of its own and turns half a character into U+FFFD.  What a
token adds to a text is fixed by three things in `tokenizer.json`: the family (read from decoder,
pre-tokenizer and normaliser), the vocabulary, and the added tokens.  Knows nothing of models.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any

from gac.errors import VocabularyError
from gac.vocabulary.added_tokens import METASPACE

_FALLBACK = re.compile("<0x([0-9A-Fa-f]{2})>")

Json = Mapping[str, Any]


class Family(StrEnum):
    """How a vocabulary spells bytes."""

    BYTE_LEVEL = "byte-level"
    """Each byte is one printable character of the GPT-2 table (tiktoken files convert to this)."""
    METASPACE = "metaspace"
    """SentencePiece: text as it is, spaces as U+2581, single bytes as `<0xNN>`; BPE or Unigram."""


@dataclass(frozen=True)
class TokenTable:
    """What a tokenizer's ids stand for: `token_bytes[id]`, empty where the id is no text.

    `special` holds the tokens flagged so (BOS, PAD, role headers ...) and `<unk>`, `added` the
    texts that are looked for before the model sees a text, `fallback` the ids written `<0xNN>`.
    """

    family: Family
    token_bytes: tuple[bytes, ...]
    special: frozenset[int]
    added: Mapping[int, str]
    fallback: frozenset[int]


@cache
def gpt2_byte_of_character() -> dict[str, int]:
    """The GPT-2 byte table inverted: printable bytes stand for themselves, the rest from U+0100 on.

    Source: the published GPT-2 encoder; `tokenizers` calls it the ByteLevel alphabet.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {chr(byte): byte for byte in printable}
    others = (byte for byte in range(256) if byte not in set(printable))
    table.update({chr(0x100 + place): byte for place, byte in enumerate(others)})
    return table


def components(part: object) -> Iterator[Json]:
    """Every normaliser, pre-tokenizer or decoder in a definition, sequences flattened."""
    if not isinstance(part, Mapping):
        return
    nested = [part.get(key) for key in ("normalizers", "pretokenizers", "decoders", "processors")]
    children = [child for group in nested if isinstance(group, list) for child in group]
    if children:
        for child in children:
            yield from components(child)
    else:
        yield part


def family_of(definition: Json) -> Family:
    """The family a `tokenizer.json` belongs to.

    Raises: VocabularyError for kinds that do not keep the bytes of a text (WordPiece, WordLevel).
    """
    kind = definition["model"].get("type")
    decoders = list(components(definition.get("decoder")))
    splitters = list(components(definition.get("pre_tokenizer")))
    normalisers = list(components(definition.get("normalizer")))
    if any(part["type"] == "ByteLevel" for part in [*decoders, *splitters, *normalisers]):
        return Family.BYTE_LEVEL
    spaced = any(part["type"] == "Metaspace" for part in [*decoders, *splitters])
    if spaced or any(_writes_metaspace(part) for part in [*normalisers, *decoders]):
        return Family.METASPACE
    raise VocabularyError(
        f"a {kind} tokenizer without byte-level or SentencePiece spelling does not keep the bytes "
        "of a text, so its tokens have no place in the union vocabulary"
    )


def _writes_metaspace(part: Json) -> bool:
    return part["type"] == "Replace" and METASPACE in json.dumps(part, ensure_ascii=False)


def read_token_table(definition: Json) -> TokenTable:
    """The bytes of every id of a tokenizer, from its parsed `tokenizer.json`.

    Raises: VocabularyError if the family has no byte spelling.
    """
    family = family_of(definition)
    model = definition["model"]
    added = {token["id"]: token for token in definition.get("added_tokens", [])}
    special = {token_id for token_id, token in added.items() if token["special"]}
    vocabulary = model_vocabulary(model)
    token_bytes = [b""] * (max([*vocabulary.values(), *added]) + 1)
    has_fallback, fallback = family is Family.METASPACE and model.get("byte_fallback"), set()
    for text, token_id in vocabulary.items():
        if has_fallback and (match := _FALLBACK.fullmatch(text)):
            fallback.add(token_id)
            token_bytes[token_id] = bytes.fromhex(match[1])
        else:
            token_bytes[token_id] = _spelling(family, text)
    for token_id, token in added.items():
        # Gemma lists its runs of spaces as added tokens, in this spelling.
        is_spaced = family is Family.METASPACE and token_id not in special
        text = token["content"].replace(METASPACE, " ") if is_spaced else token["content"]
        token_bytes[token_id] = text.encode()
    return TokenTable(
        family=family,
        token_bytes=tuple(token_bytes),
        special=frozenset(special | _unknown_ids(model, vocabulary)),
        added={token_id: token["content"] for token_id, token in added.items()},
        fallback=frozenset(fallback - added.keys()),
    )


def model_vocabulary(model: Json) -> dict[str, int]:
    """Token -> id; Unigram lists its pieces with their scores, in the order of their ids."""
    vocabulary = model["vocab"]
    if isinstance(vocabulary, Mapping):
        return dict(vocabulary)
    return {piece: token_id for token_id, (piece, _) in enumerate(vocabulary)}


def _spelling(family: Family, text: str) -> bytes:
    if family is Family.METASPACE:
        return text.replace(METASPACE, " ").encode()
    table = gpt2_byte_of_character()
    try:
        return bytes(map(table.__getitem__, text))
    except KeyError:  # the ByteLevel decoder, too, takes such a token as plain text
        return text.encode()


def _unknown_ids(model: Json, vocabulary: Mapping[str, int]) -> set[int]:
    """The id a model falls back to for text it cannot spell; BPE names it, Unigram numbers it."""
    if isinstance(model.get("unk_id"), int):
        return {model["unk_id"]}
    name = model.get("unk_token")
    return {vocabulary[name]} if isinstance(name, str) and name in vocabulary else set()
