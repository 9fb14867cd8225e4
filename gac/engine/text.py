"""What a client sees of a sequence: an event for each token, and one at its end."""

from collections.abc import Mapping
from time import monotonic
from typing import Protocol

from gac.core import (
    ErrorEvent,
    Event,
    FinishEvent,
    FinishReason,
    GenerateRequest,
    Pick,
    TokenEvent,
)
from gac.engine.telling import Told
from gac.vocabulary.detokenizer import TextStream
from gac.vocabulary.shown_tokens import ShownTokens


class Sink(Protocol):
    """Where the events of a sequence go; called on the engine's thread, so no method may block."""

    def put(self, event: Event) -> None:
        """Take an event."""

    def is_full(self) -> bool:
        """Whether the sequence is to be held back before it writes more."""


class Text:
    """The answer to one request as it grows; every token gives an event, and so does the end."""

    def __init__(
        self, request: GenerateRequest, prompt_tokens: Mapping[str, int], sink: Sink
    ) -> None:
        self.num_tokens = 0
        self.ended = False
        self.admitted_at: float | None = None
        """When it was first allowed to run, by `time.monotonic`."""
        self._request = request
        self._prompt_tokens = prompt_tokens
        self._sink = sink
        self._stream = TextStream(request.stop)
        self._shown = None if request.logprobs is None else ShownTokens()
        self._num_ensembled = 0

    @property
    def stopped(self) -> bool:
        """Whether a stop string is complete."""
        return self._stream.stopped

    def is_held_back(self) -> bool:
        """Whether nothing more may be written until the reader catches up."""
        return self._sink.is_full()

    def add(self, pick: Pick, token: bytes, told: Told) -> None:
        """Add one more token."""
        self.num_tokens += 1
        self._num_ensembled += len(told.asked) > 1
        text = self._stream.push(token)
        self._sink.put(
            TokenEvent(
                request_id=self._request.request_id,
                pick=pick,
                asked=told.asked,
                token_bytes=token,
                text=text,
                trace=told.trace,
                likelihood=told.likelihood,
                num_shown=0 if self._shown is None else self._shown.push(token, len(text)),
                at=monotonic(),
            )
        )

    def finish(
        self,
        reason: FinishReason,
        abstained: tuple[str, ...],
        told: Told,
    ) -> None:
        """Report the end, with the text that stop strings or partial characters still held."""
        assert not self.ended
        text, shown = self._stream.flush(), self._shown
        self._sink.put(
            FinishEvent(
                request_id=self._request.request_id,
                text=text,
                reason=reason,
                prompt_tokens=self._prompt_tokens,
                completion_tokens=self.num_tokens,
                ensembled_tokens=self._num_ensembled,
                abstained=abstained,
                asked=told.asked,
                trace=told.trace,
                likelihood=told.likelihood,
                num_shown=0 if shown is None else shown.finish(len(text), self.stopped),
                admitted_at=self.admitted_at,
                at=monotonic(),
            )
        )
        self.ended = True

    def fail(self, error: Exception) -> None:
        """Report an error in place of an end."""
        assert not self.ended
        self.ended = True
        self._sink.put(ErrorEvent(self._request.request_id, error))
