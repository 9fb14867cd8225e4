"""The prompts of a completion: one or several, each a text or ids of the reference member."""

from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from gac.engine.prompts import Ids

Prompt = str | Ids

_EITHER = "must be a string, a list of strings, a list of ids, or a list of lists of ids"


def _prompts(value: object) -> object:
    """A tuple where there are several; one prompt stays as it is, ids as a tuple."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise PydanticCustomError("prompt", _EITHER)
    if value and all(map(_is_id, value)):
        return [tuple(value)]
    for place, entry in enumerate(value):
        if not (isinstance(entry, str) or _is_ids(entry)):
            raise PydanticCustomError("prompt", _EITHER, {"field": place})
    return tuple(tuple(entry) if isinstance(entry, list) else entry for entry in value)


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_ids(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_id, value))


_TEXT, _ID = {"type": "string"}, {"type": "integer", "minimum": 0}
_IDS = {"type": "array", "items": _ID, "minItems": 1}
_LISTS = [{"type": "array", "items": items, "minItems": 1} for items in (_TEXT, _IDS)]

Prompts = Annotated[
    Any, BeforeValidator(_prompts), WithJsonSchema({"anyOf": [_TEXT, _IDS, *_LISTS]})
]
"""A text, a list of one prompt that was sent alone as ids, or a tuple of prompts."""


def entries_of(prompts: object) -> list[Prompt]:
    """The prompts as a list."""
    if isinstance(prompts, str):
        return [prompts]
    assert isinstance(prompts, list | tuple)
    return list(prompts)
