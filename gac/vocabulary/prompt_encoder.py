"""Prompts to ids: control tokens where the template wrote them, plain text where a user did.

A chat template's output mixes the two.  The text of added tokens inside a message is therefore
taken out before rendering (`shield`) and put back as plain-text ids afterwards
(`encode_rendered`).  What an assistant said earlier may hold markup, such as `<think>`, because the
member wrote it itself; control tokens are text there too.
"""

import json
import re
from collections.abc import Mapping, Sequence

from tokenizers import Tokenizer

from gac.errors import RequestError, VocabularyError
from gac.vocabulary.added_tokens import pattern_of
from gac.vocabulary.member_vocabulary import MemberVocabulary
from gac.vocabulary.plain_tokenizer import cut_definition
from gac.vocabulary.text_encoder import CannotSpell
from gac.vocabulary.token_bytes import Family

Message = Mapping[str, str]

_FIRST, _LAST = 0xF0000, 0xFFFFD
"""Private-use characters that stand for shielded text while a template runs."""


class PromptEncoder:
    """One member's tokenizer as it is for prompts.

    Raises: VocabularyError if it puts an id around prompts that the model lacks.
    """

    def __init__(self, tokenizer_json: str, vocabulary: MemberVocabulary) -> None:
        self._vocabulary = vocabulary
        self._tokenizer = _tokenizer_within(tokenizer_json, len(vocabulary.token_bytes))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        reads_metaspace = vocabulary.family is Family.METASPACE
        controls, markup = vocabulary.control_texts.values(), vocabulary.markup_texts.values()
        all_added = pattern_of([*controls, *markup], reads_metaspace)
        # A Unigram model takes such text for its byte token, which SentencePiece does not.
        misread = b"<0x41>" not in vocabulary.spell(self._parse("<0x41>"))
        never_read = f"[{chr(_FIRST)}-{chr(_LAST)}]" + "|<0x[0-9A-Fa-f]{2}>" * misread
        self._added = re.compile(all_added)
        self._not_for_users = re.compile(f"{all_added}|{never_read}")
        not_for_assistants = pattern_of(list(controls), reads_metaspace)
        self._not_for_assistants = re.compile(f"{not_for_assistants}|{never_read}")
        self._before, self._after = self._frame()
        self.adds_space = vocabulary.spell(self._parse("a")) == b" a"
        """Whether a text is read with a dummy space in front."""

    def _frame(self) -> tuple[list[int], list[int]]:
        """What the tokenizer puts before and after a text: BOS, if anything."""
        bare, framed = self._parse("a"), self._parse("a", framed=True)
        num_ids = len(self._vocabulary.token_bytes)
        if beyond := [token_id for token_id in framed if token_id >= num_ids]:
            raise VocabularyError(
                f"the tokenizer of member {self._vocabulary.name!r} puts the ids {beyond} around "
                f"every prompt, but its model has ids up to {num_ids - 1} only"
            )
        starts = range(len(framed) - len(bare) + 1)
        start = next(i for i in starts if framed[i : i + len(bare)] == bare)
        return framed[:start], framed[start + len(bare) :]

    def encode_text(self, text: str, framed: bool = True) -> list[int]:
        """A user's text without a template: see `encode_joined`."""
        return self.encode_joined([{"role": "user", "content": text}], framed)

    def encode_bytes(self, text: bytes) -> list[int]:
        """Bytes as a plain text, like `encode_text`; if they are no UTF-8, what is not is spelled.

        Raises: RequestError if the vocabulary lacks a byte of it.
        """
        try:
            return self.encode_text(text.decode())
        except UnicodeDecodeError:
            spelled = b" " + text if self.adds_space else text
            return [*self._before, *self._spell(spelled), *self._after]

    def encode_joined(self, messages: Sequence[Message], framed: bool = True) -> list[int]:
        """Contents joined by newlines, without a template; if `framed`, BOS as the tokenizer does.

        Raises: RequestError if the vocabulary cannot spell what looks like added tokens.
        """
        shielded, taken = self.shield(messages)
        text = "\n".join(message["content"] for message in shielded)
        if not taken:
            return self._parse(text, framed)
        ids = self.encode_rendered(text, taken)
        return [*self._before, *ids, *self._after] if framed else ids

    def shield(self, messages: Sequence[Message]) -> tuple[list[dict[str, str]], list[str]]:
        """The messages with placeholders for added tokens' text, and what each stands for."""
        taken: list[str] = []
        return [self._shield_message(message, taken) for message in messages], taken

    def _shield_message(self, message: Message, taken: list[str]) -> dict[str, str]:
        by_assistant = message.get("role") == "assistant"
        content = self._not_for_assistants if by_assistant else self._not_for_users
        patterns = {"content": content}
        return {
            key: self._shield(patterns.get(key, self._not_for_users), text, taken)
            for key, text in message.items()
        }

    def _shield(self, pattern: re.Pattern[str], text: str, taken: list[str]) -> str:
        def take(match: re.Match[str]) -> str:
            taken.append(match.group())
            if len(taken) > _LAST - _FIRST:
                raise RequestError(
                    "a message holds too many texts of added tokens", param="messages_list"
                )
            return chr(_FIRST + len(taken) - 1)

        return pattern.sub(take, text)

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
            added = self._added.search(piece)
            border = added.start() if added else len(piece)
            # It goes on in mid-text: no dummy prefix here.
            ids += self._spell((taken[ord(placeholder) - _FIRST] + piece[:border]).encode())
            ids += self._parse(piece[border:])
        return ids

    def _parse(self, text: str, framed: bool = False) -> list[int]:
        # Not `encode`: that lets no other thread run, for seconds if the text is long.
        [encoded] = self._tokenizer.encode_batch_fast([text], add_special_tokens=framed)
        ids: list[int] = encoded.ids
        return ids

    def _spell(self, text: bytes) -> list[int]:
        try:
            return self._vocabulary.literal.encode(text)
        except CannotSpell as error:
            name = self._vocabulary.name
            raise RequestError(
                f"member {name!r} cannot read {text.decode(errors='replace')!r}: {error}"
            ) from error


def _tokenizer_within(tokenizer_json: str, num_ids: int) -> Tokenizer:
    """The tokenizer, without the ids that the model lacks."""
    tokenizer = Tokenizer.from_str(tokenizer_json)
    if max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) < num_ids:
        return tokenizer
    return Tokenizer.from_str(json.dumps(cut_definition(json.loads(tokenizer_json), num_ids)))
