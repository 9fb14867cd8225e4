"""The messages of a chat: texts, or lists of parts that are texts."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from gac.config.explain import show
from gac.server.openai.tolerance import EMPTY, Tolerant, unsupported

SYSTEM_ROLES = {"developer": "system"}
"""Roles that templates do not know, and what they call them."""


def _text(content: object) -> object:
    """The text of a content: parts are joined by newlines."""
    if isinstance(content, list):
        return "\n".join(_part(place, part) for place, part in enumerate(content))
    return content


def _part(place: int, part: object) -> str:
    if isinstance(part, str):
        return part
    kind = part.get("type") if isinstance(part, dict) else None
    text = part.get("text") if isinstance(part, dict) else None
    if kind == "text" and isinstance(text, str):
        return text
    if isinstance(kind, str) and kind != "text":
        raise unsupported(place, f"a part of type {show(kind)} is not supported, only 'text'")
    what = "must be a part such as {shown}"
    context = {"field": place, "shown": '{"type": "text", "text": "..."}'}
    raise PydanticCustomError("part", what, context)


class ChatMessage(Tolerant):
    """One message of a chat; what else it has, such as a name, no template is told."""

    neutral = {"tool_calls": EMPTY, "function_call": (), "audio": ()}

    role: str
    content: Annotated[str, BeforeValidator(_text)] = ""

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, data: Any) -> Any:
        """Only an assistant may have said nothing at all; a null is an empty text."""
        if isinstance(data, dict) and "content" not in data and data.get("role") != "assistant":
            raise PydanticCustomError("missing", "Field required", {"field": "content"})
        if isinstance(data, dict) and data.get("role") in ("tool", "function"):
            raise unsupported("role", f"{show(data['role'])} is not supported, as tools are not")
        return data

    @property
    def spoken(self) -> dict[str, str]:
        """The message as templates read it."""
        return {"role": SYSTEM_ROLES.get(self.role, self.role), "content": self.content}


# Fail fast, as a body may hold millions of wrong entries.
Messages = Annotated[list[ChatMessage], Field(fail_fast=True)]
