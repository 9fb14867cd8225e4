"""Log-probabilities of tokens in two forms: that of chats, and the older one of completions."""

import codecs
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from gac.core import FinishEvent, Likelihood, TokenEvent
from gac.engine.writer import WrittenText

IMPOSSIBLE = -9999.0
"""Stands for the logarithm of 0, which JSON cannot hold; OpenAI's own value."""

Token = tuple[bytes, Likelihood | None]
"""A token, without bytes where it is END, and how probable it was if that is known."""


def listed(tokens: Iterable[TokenEvent]) -> list[Token]:
    """Tokens with their likelihoods."""
    return [(event.token_bytes, event.likelihood) for event in tokens]


def end_of(finish: FinishEvent) -> list[Token]:
    """END, if it was picked."""
    return [] if finish.likelihood is None else [(b"", finish.likelihood)]


def shown_tokens(text: WrittenText) -> Sequence[TokenEvent]:
    """The tokens that the text shows, the one in which a stop string began included."""
    return text.tokens[: text.finish.num_shown]


def logarithm(probability: float) -> float:
    """The natural logarithm, and a number for that of 0."""
    return math.log(probability) if probability > 0.0 else IMPOSSIBLE


def chat_logprobs(tokens: Iterable[Token]) -> dict[str, Any]:
    """The form of chats; a token that ends within a character is exact only in its `bytes`."""
    return {"content": (_entry(*token) for token in tokens), "refusal": None}


def _entry(token: bytes, likelihood: Likelihood | None) -> dict[str, Any]:
    assert likelihood is not None, "only an echoed prompt has tokens without one"
    top = [{**_spelled(one.token), "logprob": logarithm(one.probability)} for one in likelihood.top]
    return {**_spelled(token), "logprob": logarithm(likelihood.probability), "top_logprobs": top}


def _spelled(token: bytes) -> dict[str, Any]:
    return {"token": token.decode("utf-8", "replace"), "bytes": list(token)}


class CompletionLogprobs:
    """The form of completions for one text, whose tokens may come in several parts."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._offset = 0

    def part(self, tokens: Sequence[Token]) -> dict[str, Any]:
        """These tokens, which follow those of the last part."""
        return {
            "tokens": [_name(token) for token, _ in tokens],
            "token_logprobs": [one and logarithm(one.probability) for _, one in tokens],
            "top_logprobs": [one and _top(token, one) for token, one in tokens],
            "text_offset": list(self._offsets(token for token, _ in tokens)),
        }

    def _offsets(self, tokens: Iterable[bytes]) -> Iterator[int]:
        """The place of the character in which each begins."""
        for token in tokens:
            self._offset += len(self._decoder.decode(token[:1]))
            is_within = bool(self._decoder.getstate()[0]) or not token
            yield self._offset if is_within else self._offset - 1
            self._offset += len(self._decoder.decode(token[1:]))


def _name(token: bytes) -> str:
    r"""A token's text; as OpenAI does, such as bytes:\xe2\x80 if it is no text by itself."""
    try:
        return token.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in token)


def _top(token: bytes, likelihood: Likelihood) -> dict[str, float]:
    """The best tokens, and the token itself if it is not among them."""
    top = {_name(one.token): logarithm(one.probability) for one in likelihood.top}
    return {**top, _name(token): logarithm(likelihood.probability)}
