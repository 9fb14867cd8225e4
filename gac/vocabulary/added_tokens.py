"""Which added tokens of a tokenizer carry control meaning, and who may write them.

An added token is looked for in a text before the model sees it, so whoever can write its text can
write the token.  There are three kinds.

- *Plain* text: letters, digits and white space only (Gemma's runs of spaces and newlines), or one
  character.  It means what it says, and is encoded as the tokenizer does, whoever wrote it.
- *Control*: flagged special, or written by the chat template as structure (role headers, ends of
  turns), whatever the flag says: DeepSeek-V3's role headers have none.  Nobody's content can hold
  one.  Members cannot write one either, except those that the template expects inside the
  assistant's turn (harmony's `<|channel|>`, `<|message|>`).
- *Markup*: all others (`<think>`, `<tool_call>`).  Members may write it, and it is read in what an
  assistant said earlier; in the content of all other roles it stays text.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

METASPACE = "\u2581"
"""SentencePiece writes a space as this character."""


@dataclass(frozen=True)
class TemplateTokens:
    """The added tokens that a chat template writes.

    `structure` are those around what people say; `in_turn` those inside the assistant's turn, in
    front of the answer, which the model has to write itself.
    """

    structure: frozenset[int] = frozenset()
    in_turn: frozenset[int] = frozenset()


NO_TEMPLATE = TemplateTokens()


def is_plain(text: str) -> bool:
    """Whether an added token is ordinary text, from how it is written."""
    if len(text) == 1 and text.isprintable():
        return True
    return all(
        character.isspace() or character == METASPACE or unicodedata.category(character)[0] in "LMN"
        for character in text
    )


def without_plain(added: Mapping[int, str]) -> dict[int, str]:
    """The added tokens that could carry control meaning, by id."""
    return {token_id: text for token_id, text in added.items() if not is_plain(text)}


def paired(texts: Iterable[str]) -> set[str]:
    """Those of the form `<x>` or `</x>` of which the other one is there too."""
    known = set(texts)
    closing = {text for text in known if text.startswith("</") and "<" + text[2:] in known}
    return closing | {"<" + text[2:] for text in closing}


def pattern_of(texts: Collection[str], reads_metaspace: bool = False) -> str:
    """A regular expression that finds any of these texts, the longest first; never empty.

    With `reads_metaspace` a space and U+2581 count as the same: the tokenizer's normaliser turns
    one into the other before it looks for some added tokens.
    """
    longest_first = sorted(texts, key=len, reverse=True)
    escaped = [re.escape(text) for text in longest_first]
    if reads_metaspace:
        escaped = [re.sub(rf"\\ |{METASPACE}", f"[ {METASPACE}]", text) for text in escaped]
    return "|".join(escaped) or "(?!)"
