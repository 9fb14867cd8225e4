"""Bytes to ids, exactly: the encoder for text that models write.

A copy of the tokenizer without what belongs to prompts (dummy prefix, BOS, NFC, parsing of control
tokens), so that generated text that merely looks like a control token stays text.  What it returns
spells the bytes it was given, or it raises; nothing is lost in silence.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from tokenizers import Tokenizer

from gac.vocabulary.token_bytes import METASPACE, Family, Json, TokenTable


class CannotSpell(Exception):
    """The vocabulary lacks a byte that the text needs."""


def plain_tokenizer(definition: Json) -> Tokenizer:
    """A tokenizer that takes text as it stands: no dummy prefix, NFC, BOS or control tokens.

    The dummy prefix goes by removing its normaliser rather than by a sentinel in front of the text:
    Unigram is not local, a sentinel could change the tokens after it.
    """
    changed = {
        **definition,
        "normalizer": _without_prompt_rules(definition.get("normalizer")),
        "pre_tokenizer": _without_prefix(definition.get("pre_tokenizer")),
        **dict.fromkeys(("post_processor", "truncation", "padding")),
    }
    tokenizer = Tokenizer.from_str(json.dumps(changed, ensure_ascii=False))
    tokenizer.encode_special_tokens = True
    return tokenizer


def _without_prompt_rules(part: Any) -> Any:
    if not isinstance(part, Mapping):
        return part
    if part["type"] in ("NFC", "Prepend"):
        return None
    if part["type"] != "Sequence":
        return part
    kept = [_without_prompt_rules(child) for child in part["normalizers"]]
    return {**part, "normalizers": [child for child in kept if child is not None]}


def _without_prefix(part: Any) -> Any:
    if not isinstance(part, Mapping):
        return part
    if part["type"] == "Sequence":
        return {**part, "pretokenizers": [_without_prefix(p) for p in part["pretokenizers"]]}
    if part["type"] == "Metaspace":
        rest = {key: value for key, value in part.items() if key != "add_prefix_space"}
        return {**rest, "prepend_scheme": "never"}
    if part["type"] == "ByteLevel":
        return {**part, "add_prefix_space": False}
    return part


class TextEncoder:
    """Encodes any bytes with a vocabulary: whole characters as text, the rest as single bytes."""

    def __init__(self, definition: Json, table: TokenTable) -> None:
        self._tokenizer = plain_tokenizer(definition)
        self._token_bytes = table.token_bytes
        self._byte_ids = _single_byte_ids(table)
        # U+2581 in a text would be read as a space by a vocabulary that writes spaces so.
        alone = "\udc80-\udcff" + (METASPACE if table.family is Family.METASPACE else "")
        self._split = re.compile(f"([{alone}])")

    @property
    def missing_bytes(self) -> frozenset[int]:
        """The bytes that no ordinary token spells alone."""
        return frozenset(range(256)) - self._byte_ids.keys()

    def encode(self, text: bytes) -> list[int]:
        """Ids whose bytes, joined, are the text.

        Incomplete or impossible UTF-8 is written byte by byte, the rest goes through the tokenizer.
        Raises: CannotSpell if the vocabulary lacks a byte of it.
        """
        ids: list[int] = []
        for place, piece in enumerate(self._split.split(text.decode("utf-8", "surrogateescape"))):
            if not piece:
                continue
            if place % 2:
                ids.extend(self._spell(piece.encode("utf-8", "surrogateescape")))
            else:
                ids.extend(self._encode_characters(piece))
        return ids

    def _encode_characters(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        spelled = text.encode()
        # A Unigram model may take the text "<0x41>" for its byte token; an added token may strip.
        return ids if self.decode(ids) == spelled else self._spell(spelled)

    def _spell(self, text: bytes) -> list[int]:
        try:
            return [self._byte_ids[byte] for byte in text]
        except KeyError as error:
            raise CannotSpell(f"no token spells byte 0x{error.args[0]:02X}") from error

    def decode(self, ids: Iterable[int]) -> bytes:
        """The bytes of the ids, joined."""
        return b"".join(map(self._token_bytes.__getitem__, ids))


def _single_byte_ids(table: TokenTable) -> dict[int, int]:
    """Byte -> id, an ordinary token before a byte-fallback one, low ids before high ones."""
    ids: dict[int, int] = {}
    order = sorted(range(len(table.token_bytes)), key=lambda i: (i in table.single_bytes, i))
    for token_id in order:
        token = table.token_bytes[token_id]
        if len(token) == 1 and token_id not in table.special:
            ids.setdefault(token[0], token_id)
    return ids
