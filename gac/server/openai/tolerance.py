"""What is let pass in a body that was made for another server, and what is refused.

`null` is as good as absent.  A field that we know and do not honour is accepted where its value
asks for nothing, and refused where it would change the answer.  A field that nobody knows is left
out, and named to the client.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

from gac.config.explain import show

UNSUPPORTED = "unsupported_parameter"

Neutral = Mapping[str, tuple[Any, ...]]
"""By field: the values that ask for nothing."""

OFF = (False,)
EMPTY: tuple[Any, ...] = ([], {})
ALIKE: Neutral = {
    "add_special_tokens": (True,),
    "allowed_token_ids": EMPTY,
    "bad_words": EMPTY,
    "grammar": ("",),
    "guided_choice": EMPTY,
    "guided_grammar": ("",),
    "guided_json": EMPTY,
    "guided_regex": ("",),
    "include_stop_str_in_output": OFF,
    "json_schema": EMPTY,
    "length_penalty": (1,),
    "logits_processors": EMPTY,
    "lora": EMPTY,
    "prompt_logprobs": (),
    "response_format": ({"type": "text"},),
    "return_token_ids": OFF,
    "return_tokens_as_token_ids": OFF,
    "skip_special_tokens": (True,),
    "stop_token_ids": EMPTY,
    "structured_outputs": EMPTY,
    "truncate_prompt_tokens": (),
    "typical_p": (1,),
    "use_beam_search": OFF,
}
"""Fields of OpenAI and of other servers, for chats and completions alike."""


class Tolerant(BaseModel):
    """A body, or a part of it, of which unknown fields are kept in `model_extra`."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    neutral: ClassVar[Neutral] = {}

    @model_validator(mode="before")
    @classmethod
    def _only_what_counts(cls, data: Any) -> Any:
        """Leave out nulls and neutral values."""
        if not isinstance(data, dict):
            return data
        given = {key: value for key, value in data.items() if value is not None}
        for field, neutral in cls.neutral.items():
            if field in given and not _is_among(given.pop(field), neutral):
                raise unsupported(field, f"is not supported{_except(neutral)}")
        return given


def _is_among(value: object, neutral: tuple[Any, ...]) -> bool:
    return any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in neutral)


def _except(neutral: tuple[Any, ...]) -> str:
    return f", except as {' or '.join(map(show, neutral))}" if neutral else ""


def unsupported(field: str | int, what: str) -> PydanticCustomError:
    """The error for a field, or for an entry of a list, that is known and not honoured."""
    return PydanticCustomError(UNSUPPORTED, "{what}", {"field": field, "what": what})


logger = logging.getLogger(__name__)

HEADER = "X-GaC-Ignored"
MOST_NAMED = 16
LONGEST_NAME = 64
MOST_REMEMBERED = 1000


def ignored_header(fields: Sequence[str]) -> Mapping[str, str]:
    """Names the fields that were ignored, as many as fit."""
    if not fields:
        return {}
    shown = ", ".join(map(_shown, fields[:MOST_NAMED]))
    more = f" and {len(fields) - MOST_NAMED} more" if len(fields) > MOST_NAMED else ""
    return {HEADER: shown + more}


class IgnoredLog:
    """Logs each name the first time that it comes; of no more than a thousand."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def note(self, path: str, fields: Sequence[str]) -> None:
        """These fields of a request to this path were ignored."""
        for name in map(_shown, fields[:MOST_NAMED]):
            if name not in self._seen and len(self._seen) < MOST_REMEMBERED:
                self._seen.add(name)
                logger.info("%s: the unknown field %s is ignored", path, name)


def _shown(name: str) -> str:
    """A name as it may stand in a header, whose value has no space at its ends."""
    text = name[:LONGEST_NAME].encode("ascii", "backslashreplace").decode()
    return "".join(c if c.isprintable() and c != "," else "?" for c in text).strip() or '""'
