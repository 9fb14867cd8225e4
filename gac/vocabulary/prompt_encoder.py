"""Prompts to ids: control tokens where the template wrote them, plain text where a user did.

A chat template's output mixes the two.  Control text inside a message is therefore taken out before
rendering (`shield`) and put back as plain-text ids afterwards (`encode_rendered`).
"""

import re
from collections.abc import Mapping, Sequence

from tokenizers import Tokenizer

from gac.errors import RequestError
from gac.vocabulary.member_vocabulary import MemberVocabulary
from gac.vocabulary.text_encoder import CannotSpell

Message = Mapping[str, str]

_FIRST, _LAST = 0xF0000, 0xFFFFD
"""Private-use characters that stand for shielded text while a template runs."""


class PromptEncoder:
    """One member's tokenizer as it is for prompts."""

    def __init__(self, tokenizer_json: str, vocabulary: MemberVocabulary) -> None:
        self._vocabulary = vocabulary
        self._tokenizer = Tokenizer.from_str(tokenizer_json)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        texts = sorted(vocabulary.control_texts.values(), key=len, reverse=True)
        controls = "|".join(map(re.escape, texts)) or "(?!)"
        self._control = re.compile(controls)
        # A Unigram model takes such text for its byte token, which SentencePiece does not.
        misread = b"<0x41>" not in vocabulary.spell(self._parse("<0x41>"))
        byte_text = "|<0x[0-9A-Fa-f]{2}>" if misread else ""
        self._shielded = re.compile(f"{controls}|[{chr(_FIRST)}-{chr(_LAST)}]{byte_text}")
        self._before, self._after = self._frame()

    def _frame(self) -> tuple[list[int], list[int]]:
        """What the tokenizer puts before and after a text: BOS, if anything."""
        bare, framed = self._parse("a"), self._parse("a", framed=True)
        starts = range(len(framed) - len(bare) + 1)
        start = next(i for i in starts if framed[i : i + len(bare)] == bare)
        return framed[:start], framed[start + len(bare) :]

    def encode_text(self, text: str) -> list[int]:
        """A prompt without a template: BOS as the tokenizer adds it, control text as plain text.

        Raises: RequestError if the vocabulary cannot spell the control text.
        """
        taken: list[str] = []
        shielded = self._shield(text, taken)
        if not taken:
            return self._parse(text, framed=True)
        return [*self._before, *self.encode_rendered(shielded, taken), *self._after]

    def shield(self, messages: Sequence[Message]) -> tuple[list[dict[str, str]], list[str]]:
        """The messages with control text replaced by placeholders, and what each stands for."""
        taken: list[str] = []
        shielded = [{k: self._shield(v, taken) for k, v in m.items()} for m in messages]
        return shielded, taken

    def _shield(self, text: str, taken: list[str]) -> str:
        def take(match: re.Match[str]) -> str:
            taken.append(match.group())
            if len(taken) > _LAST - _FIRST:
                raise RequestError("a message holds too many control tokens", param="messages_list")
            return chr(_FIRST + len(taken) - 1)

        return self._shielded.sub(take, text)

    def encode_rendered(self, rendered: str, taken: Sequence[str] = ()) -> list[int]:
        """Ids of a template's output, with what was shielded spliced in as plain text.

        Raises: RequestError if the vocabulary cannot spell the shielded text.
        """
        if not taken:
            return self._parse(rendered)
        placeholders = f"([{chr(_FIRST)}-{chr(_FIRST + len(taken) - 1)}])"
        first, *rest = re.split(placeholders, rendered)
        ids = self._parse(first)
        for placeholder, piece in zip(rest[::2], rest[1::2], strict=True):
            control = self._control.search(piece)
            border = control.start() if control else len(piece)
            # It goes on in mid-text: no dummy prefix here.
            ids += self._spell(taken[ord(placeholder) - _FIRST] + piece[:border])
            ids += self._parse(piece[border:])
        return ids

    def _parse(self, text: str, framed: bool = False) -> list[int]:
        # Not `encode`: that lets no other thread run, for seconds if the text is long.
        [encoded] = self._tokenizer.encode_batch_fast([text], add_special_tokens=framed)
        ids: list[int] = encoded.ids
        return ids

    def _spell(self, text: str) -> list[int]:
        try:
            return self._vocabulary.encoder.encode(text.encode())
        except CannotSpell as error:
            name = self._vocabulary.name
            raise RequestError(f"member {name!r} cannot read {text!r}: {error}") from error
