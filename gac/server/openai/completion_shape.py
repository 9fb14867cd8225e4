"""The answer to a completion."""

from typing import Any

from gac.core import FinishEvent
from gac.engine.writer import WrittenText
from gac.server.job import Job
from gac.server.openai.completion_body import CompletionBody
from gac.server.openai.likelihoods import CompletionLogprobs, listed, shown_tokens
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

    def _opening(self, place: int) -> None:
        """Text is all that a choice is made of."""

    def _added(self, place: int, piece: Piece) -> Choice:
        tokens = listed(piece.shown)
        logprobs = self._logprobs[place].part(tokens) if self._tells else None
        return _choice(place, piece.text, logprobs, None)

    def _ended(self, place: int, finish: FinishEvent) -> Choice:
        return _choice(place, "", None, finish.reason.value)

    def _complete(self, place: int, text: WrittenText) -> Choice:
        tokens = listed(shown_tokens(text))
        logprobs = self._logprobs[place].part(tokens) if self._tells else None
        return _choice(place, text.text, logprobs, None)

    @property
    def _tells(self) -> bool:
        return self._job.asked.logprobs is not None


def _choice(place: int, text: str, logprobs: dict[str, Any] | None, reason: str | None) -> Choice:
    return {"index": place, "text": text, "logprobs": logprobs, "finish_reason": reason}
