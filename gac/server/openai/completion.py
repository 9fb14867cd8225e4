"""Completions: the body of POST /v1/completions, and the shape of its answers."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from gac.core import FinishEvent, TokenEvent
from gac.engine.client_request import ClientRequest
from gac.engine.prompts import Ids, is_ids
from gac.engine.service import Service
from gac.engine.writer import WrittenText
from gac.server.job import Job
from gac.server.openai.body import OpenAIBody, wrong
from gac.server.openai.echo import fronts_of
from gac.server.openai.likelihoods import CompletionLogprobs, Token, end_of, listed, shown_tokens
from gac.server.openai.shape import Choice, OpenAIShape, Piece
from gac.server.openai.tolerance import ALIKE
from gac.server.openai.words import Words

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


USUAL_TOKENS = 16
"""OpenAI's own default."""


class CompletionBody(OpenAIBody):
    """Texts, and how they are to be continued; every field that is named here has an effect."""

    neutral = {**ALIKE, "suffix": ("",), "prompt_embeds": ()}

    prompt: Prompts
    echo: bool = False
    logprobs: int | None = None
    best_of: int | None = None

    @property
    def has_several(self) -> bool:
        """Whether the prompts were sent as a list of them."""
        return isinstance(self.prompt, tuple)

    def asked(self, service: Service) -> ClientRequest:
        """The texts as the engine's floor takes them.  Raises: RequestError."""
        if self.best_of not in (None, self.n):
            what = f"is supported only if it equals n, which is {self.n}"
            raise wrong("best_of", what, "unsupported_parameter")
        entries = entries_of(self.prompt)
        if self.gac.trace and (self.echo or any(map(is_ids, entries))):
            raise wrong("gac.trace", "is for prompts that are texts, without echo")
        return ClientRequest(
            messages_list=entries,
            max_new_tokens=USUAL_TOKENS if self.max_tokens is None else self.max_tokens,
            logprobs=self.logprobs,
            echo=self.echo,
            **self.shared(service),
        )


class CompletionShape(OpenAIShape):
    """Texts, those of the first prompt first."""

    prefix = "cmpl"
    kind = chunk_kind = "text_completion"

    def __init__(self, job: Job, body: CompletionBody, words: Words) -> None:
        super().__init__(job, body, words)
        self._logprobs = [CompletionLogprobs() for _ in job.requests]
        self._fronts = fronts_of(job)
        self._hides_space = [front.has_dummy_space for front in self._fronts]
        self._lists_space = list(self._hides_space)

    def _opening(self, place: int) -> Choice | None:
        """The prompt, if it is echoed."""
        front = self._fronts[place]
        if not self._job.asked.echo:
            return None
        return _choice(place, front.text, self._listed(place, front.tokens), None)

    def _added(self, place: int, piece: Piece) -> Choice:
        hidden = self._hides_space[place] and bool(piece.text)
        text = piece.text[hidden:]
        self._hides_space[place] &= not hidden
        return _choice(place, text, self._listed(place, self._spelled(place, piece.shown)), None)

    def _ended(self, place: int, finish: FinishEvent) -> Choice:
        end = self._end(finish)
        told = self._listed(place, end) if end else None
        return _choice(place, "", told, finish.reason.value)

    def _complete(self, place: int, text: WrittenText) -> Choice:
        front = self._fronts[place]
        tokens = [*front.tokens, *self._spelled(place, shown_tokens(text)), *self._end(text.finish)]
        written = front.text + text.text[front.has_dummy_space :]
        return _choice(place, written, self._listed(place, tokens), None)

    def _spelled(self, place: int, events: Sequence[TokenEvent]) -> list[Token]:
        """Tokens as they stand in the text: the very first without a dummy space."""
        tokens = listed(events)
        if tokens and self._lists_space[place]:
            self._lists_space[place] = False
            (spelled, likelihood), *others = tokens
            return [(spelled[1:], likelihood), *others]
        return tokens

    def _listed(self, place: int, tokens: Sequence[Token]) -> dict[str, Any] | None:
        return self._logprobs[place].part(tokens) if self._tells else None

    def _end(self, finish: FinishEvent) -> list[Token]:
        """END, where the tokens of the prompt are listed: one token follows them at least."""
        return end_of(finish) if self._job.asked.scores_prompts else []

    @property
    def _tells(self) -> bool:
        return self._job.asked.logprobs is not None


def _choice(place: int, text: str, logprobs: dict[str, Any] | None, reason: str | None) -> Choice:
    return {"index": place, "text": text, "logprobs": logprobs, "finish_reason": reason}
