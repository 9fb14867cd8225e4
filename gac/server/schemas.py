"""What `/api/generate` takes and gives: the original's fields, and ours beside them."""

import secrets
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from gac.core import Sampling
from gac.engine.choice import Wishes
from gac.server.trace_records import Record, TokenRecord
from gac.vocabulary.retokenize import Rule


class _Schema(BaseModel):
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
                    what = "there is no such field; there are {known}"
                    raise PydanticCustomError(
                        "unknown_field", what, {"field": field, "known": known}
                    )
        return data


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _without_surrogates(value: object) -> object:
    try:
        if isinstance(value, str):
            value.encode()
    except UnicodeEncodeError as error:
        what = "a lone surrogate at character {place} is no Unicode text"
        raise PydanticCustomError("surrogate", what, {"place": error.start}) from error
    return value


Text = Annotated[str, BeforeValidator(_without_surrogates)]
FilledText = Annotated[str, Field(min_length=1), BeforeValidator(_without_surrogates)]
StopString = Annotated[str, Field(min_length=1, max_length=1024)]
StopStrings = Annotated[
    list[Annotated[StopString, BeforeValidator(_without_surrogates)]],
    # Each is looked for after every token, on the thread that serves everybody.
    Field(max_length=64, fail_fast=True),
]


_MOST_KEYS = 256


def _short(value: object) -> object:
    if isinstance(value, dict | list) and len(value) > _MOST_KEYS:
        what = "{count} entries are more than the {most} that may be"
        raise PydanticCustomError("too_long", what, {"count": len(value), "most": _MOST_KEYS})
    return value


def _named(value: object) -> object:
    """A name, or a name with parameters; which there are is checked where they are read."""
    if value is not None and not isinstance(value, str | dict):
        raise PydanticCustomError("named", "must be a name or an object with a name")
    return _short(value)


Named = Annotated[Any, BeforeValidator(_named)]
MOST_TRACED = 20
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


Weight = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class Message(_Schema):
    """One message of a conversation."""

    role: FilledText
    content: Text


# Fail fast, as a body may hold millions of wrong entries.
Conversation = Annotated[list[Message], Field(min_length=1, fail_fast=True)]


class GenerateBody(_Schema):
    """The body of POST /api/generate; every field that is accepted has an effect."""

    messages_list: Annotated[list[Conversation], Field(min_length=1, fail_fast=True)]
    max_new_tokens: Annotated[int, Field(ge=1)] = 50
    max_length: Annotated[int, Field(ge=1)] | None = None
    apply_chat_template: bool = False
    until: Annotated[StopStrings, BeforeValidator(_as_list)] | None = None
    temperature: Annotated[float, Field(ge=0.0, le=100.0, allow_inf_nan=False)] = 0.0
    top_k: Annotated[int, Field(ge=0)] = 0
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    min_p: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    seed: Annotated[int, Field(ge=-(2**63), lt=2**64)] | None = None
    min_new_tokens: Annotated[int, Field(ge=0)] = 0
    ignore_eos: bool = False
    strategy: Named = None
    threshold: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    weights: Annotated[dict[str, Weight], BeforeValidator(_short)] | None = None
    aggregation: Named = None
    members: Annotated[list[str], BeforeValidator(_short)] | None = None
    trace: Annotated[int, BeforeValidator(_traced)] = 0

    @model_validator(mode="after")
    def _min_not_above_max(self) -> "GenerateBody":
        if self.min_new_tokens > self.max_new_tokens:
            raise PydanticCustomError(
                "min_above_max",
                "{min} exceeds max_new_tokens {max}",
                {
                    "field": "min_new_tokens",
                    "min": self.min_new_tokens,
                    "max": self.max_new_tokens,
                },
            )
        return self

    def sampling(self) -> Sampling:
        """How tokens are drawn; without a seed, by one that nobody has used."""
        return Sampling(
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            min_p=self.min_p,
            seed=secrets.randbits(64) if self.seed is None else self.seed,
        )

    def wishes(self) -> Wishes:
        """What is asked for of who writes, and how."""
        return Wishes(self.strategy, self.threshold, self.weights, self.aggregation, self.members)


class Usage(_Schema):
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


class GenerateAnswer(_Schema):
    """The answer; lists have one entry a conversation, in the order they were sent."""

    response: list[str]
    total_time: float
    num_tokens: int
    num_tokens_per_sec: float
    finish_reasons: list[str]
    usage: list[Usage]
    ensembled_token_ratio: list[float]
    abstained_members: list[list[str]]
    trace: list[ConversationTrace] | None = None
