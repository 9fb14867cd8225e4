"""Chats: the body of POST /v1/chat/completions, and the shape of its answers."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from gac.config.explain import show
from gac.core import FinishEvent
from gac.engine.client_request import ClientRequest
from gac.engine.service import Service
from gac.engine.writer import WrittenText
from gac.errors import RequestError
from gac.server.openai.body import OpenAIBody
from gac.server.openai.likelihoods import chat_logprobs, listed, shown_tokens
from gac.server.openai.shape import Choice, OpenAIShape, Piece
from gac.server.openai.tolerance import ALIKE, EMPTY, OFF, Tolerant, unsupported

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
        """Only an assistant may have said nothing at all."""
        is_silent = isinstance(data, dict) and data.get("content") is None
        if is_silent and data.get("role") != "assistant":
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


class ChatBody(OpenAIBody):
    """A chat, and how it is to be answered; every field that is named here has an effect."""

    neutral = {
        **ALIKE,
        "add_generation_prompt": (True,),
        "audio": (),
        "chat_template": (),
        "chat_template_kwargs": EMPTY,
        "continue_final_message": OFF,
        "documents": EMPTY,
        "echo": OFF,
        "function_call": ("none", "auto"),
        "functions": EMPTY,
        "modalities": (["text"],),
        "reasoning_effort": ("none",),
        "tool_choice": ("none", "auto"),
        "tools": EMPTY,
        "verbosity": ("medium",),
        "web_search_options": (),
    }

    messages: Messages
    max_completion_tokens: int | None = None
    logprobs: bool = False
    top_logprobs: int | None = None

    @property
    def limit_name(self) -> str:
        """The field in which the client limits the answer."""
        return "max_tokens" if self.max_completion_tokens is None else "max_completion_tokens"

    def asked(self, service: Service) -> ClientRequest:
        """The chat as the engine's floor takes it.  Raises: RequestError."""
        shared = self.shared(service)
        return ClientRequest(
            messages_list=[[message.spoken for message in self.messages]],
            apply_chat_template=True,
            max_new_tokens=self._most_tokens(service, shared["members"]),
            logprobs=self._num_told(),
            **shared,
        )

    def _most_tokens(self, service: Service, members: list[str] | None) -> int:
        """What the client says, else as much as the members' contexts and the server allow."""
        given = {self.max_tokens, self.max_completion_tokens} - {None}
        if len(given) > 1:
            what = f"is {self.max_completion_tokens}, and max_tokens is {self.max_tokens}"
            raise RequestError(f"max_completion_tokens: {what}", param="max_completion_tokens")
        if given:
            return int(given.pop() or 0)
        ensemble = service.started.ensemble
        rooms = [ensemble.context_limit(name) for name in members or () if name in ensemble.members]
        rooms = rooms or [ensemble.context_limit(name) for name in ensemble.members]
        return min(service.config.engine.max_new_tokens_limit, *rooms)

    def _num_told(self) -> int | None:
        """How many tokens are told beside each token; None: nothing is told."""
        most = self.top_logprobs
        if not self.logprobs:
            if most:
                raise RequestError("top_logprobs: needs logprobs: true", param="top_logprobs")
            return None
        return most or 0


class ChatShape(OpenAIShape):
    """Messages of the assistant; a stream begins with its role and ends without content."""

    prefix = "chatcmpl"
    kind = "chat.completion"
    chunk_kind = "chat.completion.chunk"

    def _opening(self, place: int) -> Choice:
        delta = {"role": "assistant", "content": ""}
        return {"index": place, "delta": delta, "logprobs": None, "finish_reason": None}

    def _added(self, place: int, piece: Piece) -> Choice:
        return {
            "index": place,
            "delta": {"content": piece.text},
            "logprobs": chat_logprobs(listed(piece.shown)) if self._tells else None,
            "finish_reason": None,
        }

    def _ended(self, place: int, finish: FinishEvent) -> Choice:
        reason = finish.reason.value
        return {"index": place, "delta": {}, "logprobs": None, "finish_reason": reason}

    def _complete(self, place: int, text: WrittenText) -> Choice:
        message = {"role": "assistant", "content": text.text, "refusal": None}
        logprobs = chat_logprobs(listed(shown_tokens(text))) if self._tells else None
        return {"index": place, "message": message, "logprobs": logprobs}

    @property
    def _tells(self) -> bool:
        return self._job.asked.logprobs is not None
