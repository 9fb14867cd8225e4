"""What `/api/generate` takes and gives: the original's fields, and ours beside them."""

import re
from dataclasses import fields
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from gac.engine.client_request import MOST_BIASED, MOST_TRACED, ClientRequest
from gac.server.trace_records import Record, TokenRecord
from gac.vocabulary.retokenize import Rule


class Schema(BaseModel):
    """What all bodies share: exact JSON types, and no unknown field."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _only_known_fields(cls, data: Any) -> Any:
        """One error for the first unknown field; pydantic would make one for each of a million."""
        if isinstance(data, dict):
            for key in data:
                if key not in cls.model_fields:
                    known = ", ".join(cls.model_fields)
                    field = str(key).encode("utf-8", "backslashreplace").decode()
                    what = "unknown field; the fields are {known}"
                    raise PydanticCustomError(
                        "unknown_field", what, {"field": field, "known": known}
                    )
        return data


def as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


_MOST_KEYS = 256


def _short(value: object) -> object:
    if isinstance(value, dict | list) and len(value) > _MOST_KEYS:
        what = "has {count} entries; at most {most} are allowed"
        raise PydanticCustomError("too_long", what, {"count": len(value), "most": _MOST_KEYS})
    return value


def _named(value: object) -> object:
    """A name, or an object with a name and parameters, both checked by `gac.engine.choice`."""
    if value is not None and not isinstance(value, str | dict):
        raise PydanticCustomError("named", "must be a name or an object with a name")
    return _short(value)


Named = Annotated[Any, BeforeValidator(_named)]
USUALLY_TRACED = 5


def _traced(value: object) -> object:
    """How many candidates a trace lists; 0: no trace."""
    if value is None or value is False:
        return 0
    if value is True:
        return USUALLY_TRACED
    if not isinstance(value, int) or not 1 <= value <= MOST_TRACED:
        what = "must be true, false or a whole number from 1 to {most}"
        raise PydanticCustomError("traced", what, {"most": MOST_TRACED})
    return value


TRACE_SCHEMA = {
    "anyOf": [{"type": "boolean"}, {"type": "integer", "minimum": 1, "maximum": MOST_TRACED}]
}


def _by_id(value: object) -> object:
    """Biases by token id; JSON has no keys but strings."""
    if not isinstance(value, dict):
        return value
    if len(value) > MOST_BIASED:
        what = "must have at most {most} ids, not {count}"
        raise PydanticCustomError("too_long", what, {"count": len(value), "most": MOST_BIASED})
    for key in value:
        if not (isinstance(key, int) or re.fullmatch("[0-9]{1,9}", key)):
            what = "{key} is no token id; keys are whole numbers from 0"
            shown = str(key)[:40].encode("utf-8", "backslashreplace").decode()
            raise PydanticCustomError("no_token_id", what, {"key": repr(shown)})
    return {int(key): bias for key, bias in value.items()}


LogitBias = Annotated[dict[int, float], BeforeValidator(_by_id)]
Weight = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class Message(Schema):
    """One message of a conversation."""

    role: str
    content: str


# Fail fast, as a body may hold millions of wrong entries.
Conversation = Annotated[list[Message], Field(fail_fast=True)]
StopStrings = Annotated[list[str], Field(fail_fast=True)]
OneOrMore = Annotated[StopStrings, BeforeValidator(as_list, json_schema_input_type=str | list[str])]
"""Stop strings, of which a client may send one without a list."""


class EnsembleFields(Schema):
    """The fields that only an ensemble has: who writes, how, and what is told of it."""

    strategy: Named = None
    threshold: float | None = None
    weights: Annotated[dict[str, float], BeforeValidator(_short)] | None = None
    aggregation: Named = None
    members: Annotated[list[str], BeforeValidator(_short)] | None = None
    trace: Annotated[int, BeforeValidator(_traced), WithJsonSchema(TRACE_SCHEMA)] = Field(
        0, json_schema_extra={"default": False}
    )


class DecodingFields(BaseModel):
    """The fields of how tokens are picked, the same in every body."""

    temperature: float = ClientRequest.temperature
    top_k: int = ClientRequest.top_k
    top_p: float = ClientRequest.top_p
    min_p: float = ClientRequest.min_p
    seed: int | None = ClientRequest.seed
    ignore_eos: bool = ClientRequest.ignore_eos
    presence_penalty: float = ClientRequest.presence_penalty
    frequency_penalty: float = ClientRequest.frequency_penalty
    repetition_penalty: float = ClientRequest.repetition_penalty
    logit_bias: LogitBias | None = None


class GenerateBody(EnsembleFields, DecodingFields):
    """The body of POST /api/generate; every field that is accepted has an effect.

    It checks the JSON types only.  Which values a field may have is checked by `check_values` in
    `gac.engine.client_request` and by `choose` in `gac.engine.choice`.
    """

    messages_list: Annotated[list[Conversation], Field(fail_fast=True)]
    max_new_tokens: int = ClientRequest.max_new_tokens
    max_length: int | None = ClientRequest.max_length
    apply_chat_template: bool = ClientRequest.apply_chat_template
    until: OneOrMore | None = None
    min_new_tokens: int = ClientRequest.min_new_tokens
    stream: bool = False

    def request(self) -> ClientRequest:
        """The body as the value that `gac.engine.requests.prepare` takes."""
        given: dict[str, Any] = {name: getattr(self, name) for name in _ASKED}
        conversations = [[m.model_dump() for m in messages] for messages in self.messages_list]
        return ClientRequest(
            **{**given, "messages_list": conversations, "until": tuple(self.until or ())}
        )


_ASKED = tuple(f.name for f in fields(ClientRequest) if f.name in GenerateBody.model_fields)


class Usage(Schema):
    """Tokens of one conversation: of the prompt by member, and of the answer."""

    prompt_tokens: dict[str, int]
    completion_tokens: int


class ConversationTrace(Record):
    """One conversation: `request` is a body that asks for it alone, the seed that was used in it.

    `members` are all the server had; `weights` the shares of those that wrote, as they were used.
    `end` tells of END where it was picked.
    """

    version: str
    union: str
    retokenize: Rule
    members: list[str]
    weights: dict[str, Weight]
    request: GenerateBody
    finish_reason: str
    tokens: list[TokenRecord]
    end: TokenRecord | None


class GenerateAnswer(Schema):
    """The answer; lists have one entry a conversation, in the order they were sent."""

    response: list[str]
    total_time: float
    num_tokens: int
    num_tokens_per_sec: float
    finish_reasons: list[str]
    usage: list[Usage]
    ensembled_token_ratio: list[float]
    abstained_members: list[list[str]]
    hints: list[str] | None = None
    trace: list[ConversationTrace] | None = None
