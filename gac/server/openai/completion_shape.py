"""The answer to a completion."""

from collections.abc import Sequence
from typing import Any

from gac.core import FinishEvent, TokenEvent
from gac.engine.writer import WrittenText
from gac.server.job import Job
from gac.server.openai.completion_body import CompletionBody
from gac.server.openai.echo import fronts_of
from gac.server.openai.likelihoods import CompletionLogprobs, Token, end_of, listed, shown_tokens
from gac.server.openai.progress import Piece
from gac.server.openai.shape import Choice, OpenAIShape
from gac.server.openai.words import Words


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
