"""What our fields are called in the bodies of OpenAI, so that errors name what the client sent."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from gac.errors import GacError

Rule = tuple[str, str]
"""A pattern, and what is put in its place."""

SHARED: tuple[Rule, ...] = (
    (r"\Auntil\b", "stop"),
    (r"\A(strategy|threshold|weights|aggregation|members|trace)\b", r"gac.\1"),
    (r"\bmin_new_tokens\b", "min_tokens"),
)
"""Where a name is a word of the language, too, it is one only at the start."""


@dataclass(frozen=True)
class Words:
    """The names of one request's fields."""

    rules: Sequence[Rule]

    def in_client_words(self, error: GacError) -> GacError:
        """The same error in the words of the request."""
        param = error.param and self._said(error.param)
        return type(error)(self._said(error.message), param=param, code=error.code)

    def _said(self, text: str) -> str:
        for pattern, name in self.rules:
            text = re.sub(pattern, name, text)
        return text


def chat_words(limit_name: str) -> Words:
    """The words of a chat, whose length the client limits by a field of this name."""
    return Words(
        (
            *SHARED,
            (r"\bmax_new_tokens\b", limit_name),
            (r"\A(messages_list|apply_chat_template)\Z", "messages"),
            (r"\bmessages_list(\[0\])?", "messages"),
            (r"\Alogprobs\b", "top_logprobs"),
        )
    )


def completion_words(has_several: bool) -> Words:
    """The words of a completion of one prompt, or of a list of them."""
    one = r"\bmessages_list(\[0\])?" if not has_several else r"\bmessages_list\b"
    return Words(
        (
            *SHARED,
            (r"\bmax_new_tokens\b", "max_tokens"),
            (one, "prompt"),
            (r"\bconversation(s?)\b", r"prompt\1"),
        )
    )
