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
from gac.trace import TokenTrace
from gac.vocabulary.detokenizer import TextStream


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
        self._num_ensembled = 0

    @property
    def stopped(self) -> bool:
        """Whether a stop string is complete."""
        return self._stream.stopped

    def is_held_back(self) -> bool:
        """Whether nothing more may be written until the reader catches up."""
        return self._sink.is_full()

    def add(
        self, pick: Pick, token: bytes, asked: tuple[str, ...], trace: TokenTrace | None
    ) -> None:
        """Add one more token, which these members were asked about."""
        self.num_tokens += 1
        self._num_ensembled += len(asked) > 1
        text = self._stream.push(token)
        self._sink.put(
            TokenEvent(self._request.request_id, pick, asked, token, text, trace, at=monotonic())
        )

    def finish(
        self,
        reason: FinishReason,
        abstained: tuple[str, ...],
        asked: tuple[str, ...] = (),
        trace: TokenTrace | None = None,
    ) -> None:
        """Report the end, with the text that stop strings or partial characters still held."""
        assert not self.ended
        self._sink.put(
            FinishEvent(
                request_id=self._request.request_id,
                text=self._stream.flush(),
                reason=reason,
                prompt_tokens=self._prompt_tokens,
                completion_tokens=self.num_tokens,
                ensembled_tokens=self._num_ensembled,
                abstained=abstained,
                asked=asked,
                trace=trace,
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
