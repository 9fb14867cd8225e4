"""Bytes to ids, exactly: the encoder for text that models write.

What it returns spells the bytes it was given, or it raises; nothing is lost in silence.
"""

import re
from collections.abc import Iterable, Iterator

from gac.vocabulary.added_tokens import METASPACE
from gac.vocabulary.plain_tokenizer import plain_tokenizer
from gac.vocabulary.token_bytes import Family, Json, TokenTable

_NEVER = re.compile("(?!)")
_INSIDE_BYTE_TOKEN = re.compile("(?<=<)(?=0x[0-9A-Fa-f]{2}>)")
"""Where the text "<0x41>" is cut, lest a Unigram model take it for its byte token."""


class CannotSpell(Exception):
    """The vocabulary lacks a byte that the text needs."""


class TextEncoder:
    """Encodes any bytes with a vocabulary: whole characters as text, the rest as single bytes.

    Ids without bytes in the table (control tokens, stop ids) are never given.
    """

    def __init__(self, definition: Json, table: TokenTable) -> None:
        self._token_bytes = table.token_bytes
        silent = {i for i, token in enumerate(table.token_bytes) if not token}
        self._tokenizer = plain_tokenizer(definition, silent)
        self._byte_ids = _single_byte_ids(table)
        # U+2581 in a text would be read as a space by a vocabulary that writes spaces so.
        alone = "\udc80-\udcff" + (METASPACE if table.family is Family.METASPACE else "")
        self._alone = re.compile(f"([{alone}])")
        is_unigram = definition["model"].get("type") == "Unigram"
        self._cut = _INSIDE_BYTE_TOKEN if is_unigram else _NEVER

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
        for piece, is_alone in self._pieces(text):
            spelled = piece.encode("utf-8", "surrogateescape")
            given = [] if is_alone else self._tokenize(piece)
            ids.extend(given if self.decode(given) == spelled else self._spell(spelled))
        return ids

    def kept(self, text: bytes) -> bytes:
        """What the tokenizer by itself keeps of a text, without help from single bytes."""
        parts = (
            piece.encode("utf-8", "surrogateescape")
            if is_alone
            else self.decode(self._tokenize(piece))
            for piece, is_alone in self._pieces(text)
        )
        return b"".join(parts)

    def decode(self, ids: Iterable[int]) -> bytes:
        """The bytes of the ids, joined."""
        return b"".join(map(self._token_bytes.__getitem__, ids))

    def _pieces(self, text: bytes) -> Iterator[tuple[str, bool]]:
        """The text cut up, and which pieces are to be written byte by byte."""
        for place, piece in enumerate(self._alone.split(text.decode("utf-8", "surrogateescape"))):
            if place % 2:
                yield piece, True
            elif piece:
                yield from ((part, False) for part in self._cut.split(piece))

    def _tokenize(self, text: str) -> list[int]:
        # Not `encode`: that is no faster, and lets no other thread run meanwhile.
        [encoded] = self._tokenizer.encode_batch_fast([text], add_special_tokens=False)
        ids: list[int] = encoded.ids
        return ids

    def _spell(self, text: bytes) -> list[int]:
        try:
            return [self._byte_ids[byte] for byte in text]
        except KeyError as error:
            raise CannotSpell(f"no token spells byte 0x{error.args[0]:02X}") from error


def _single_byte_ids(table: TokenTable) -> dict[int, int]:
    """Byte -> id, an ordinary token before a byte-fallback one, low ids before high ones."""
    ids: dict[int, int] = {}
    for token_id in sorted(range(len(table.token_bytes)), key=lambda i: (i in table.fallback, i)):
        token = table.token_bytes[token_id]
        if len(token) == 1:
            ids.setdefault(token[0], token_id)
    return ids
