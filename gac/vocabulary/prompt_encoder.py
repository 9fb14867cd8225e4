"""Prompts to ids: control tokens where the template wrote them, plain text where a user did.

A chat template's output mixes the two.  Control text inside a message is therefore taken out before
rendering (`shield`) and put back as plain-text ids afterwards (`encode_rendered`).
"""

import json
import re
from collections.abc import Mapping, Sequence

from tokenizers import Tokenizer

from gac.errors import RequestError
from gac.vocabulary.text_encoder import CannotSpell, TextEncoder

Message = Mapping[str, str]

_FIRST, _LAST = 0xF0000, 0xFFFFD
"""Private-use characters that stand for shielded text while a template runs."""
_PLACEHOLDER = re.compile(f"([{chr(_FIRST)}-{chr(_LAST)}])")


class PromptEncoder:
    """One member's tokenizer as it is for prompts."""

    def __init__(self, tokenizer_json: str, text_encoder: TextEncoder) -> None:
        self._parsing = Tokenizer.from_str(tokenizer_json)
        self._plain = Tokenizer.from_str(tokenizer_json)
        self._plain.encode_special_tokens = True
        for tokenizer in (self._parsing, self._plain):
            tokenizer.no_truncation()
            tokenizer.no_padding()
        self._text_encoder = text_encoder
        added = json.loads(tokenizer_json).get("added_tokens", [])
        specials = [re.escape(token["content"]) for token in added if token["special"]]
        specials.sort(key=len, reverse=True)
        self._control = re.compile("|".join(specials) or "(?!)")
        self._shielded = re.compile("|".join([*specials, _PLACEHOLDER.pattern]))

    def encode_text(self, text: str) -> list[int]:
        """A prompt without a template: BOS as the tokenizer adds it, control text as plain text."""
        ids: list[int] = self._plain.encode(text, add_special_tokens=True).ids
        return ids

    def shield(self, messages: Sequence[Message]) -> tuple[list[dict[str, str]], list[str]]:
        """The messages with control text replaced by placeholders, and what each stands for."""
        taken: list[str] = []

        def take(match: re.Match[str]) -> str:
            taken.append(match.group())
            if len(taken) > _LAST - _FIRST:
                raise RequestError("a message holds too many control tokens", param="messages_list")
            return chr(_FIRST + len(taken) - 1)

        shielded = [{**m, "content": self._shielded.sub(take, m["content"])} for m in messages]
        return shielded, taken

    def encode_rendered(self, rendered: str, taken: Sequence[str] = ()) -> list[int]:
        """Ids of a template's output, with what was shielded spliced in as plain text.

        Raises: RequestError if the vocabulary cannot spell the shielded text.
        """
        first, *rest = _PLACEHOLDER.split(rendered) if taken else [rendered]
        ids = self._parse(first)
        for placeholder, piece in zip(rest[::2], rest[1::2], strict=True):
            ids += self._spell(taken[ord(placeholder) - _FIRST])
            control = self._control.search(piece)
            border = control.start() if control else len(piece)
            ids += self._spell(piece[:border])  # goes on in mid-text: no dummy prefix here
            ids += self._parse(piece[border:])
        return ids

    def _parse(self, text: str) -> list[int]:
        ids: list[int] = self._parsing.encode(text, add_special_tokens=False).ids
        return ids

    def _spell(self, text: str) -> list[int]:
        try:
            return self._text_encoder.encode(text.encode())
        except CannotSpell as error:
            raise RequestError(f"a member cannot read {text!r}: {error}") from error
