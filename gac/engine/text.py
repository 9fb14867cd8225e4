"""What a client sees of a sequence: token by token, and its end."""

from collections.abc import Callable, Mapping

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

Emit = Callable[[Event], None]


class Text:
    """The answer to one request as it grows; emits an event for every token, and one at the end."""

    def __init__(
        self, request: GenerateRequest, prompt_tokens: Mapping[str, int], emit: Emit
    ) -> None:
        self.num_tokens = 0
        self.ended = False
        self._request = request
        self._prompt_tokens = prompt_tokens
        self._emit = emit
        self._stream = TextStream(request.stop)
        self._num_ensembled = 0

    @property
    def stopped(self) -> bool:
        """Whether a stop string is complete."""
        return self._stream.stopped

    def add(
        self, pick: Pick, token: bytes, asked: tuple[str, ...], trace: TokenTrace | None
    ) -> None:
        """Show one more token, which these members were asked about."""
        self.num_tokens += 1
        self._num_ensembled += len(asked) > 1
        text = self._stream.push(token)
        self._emit(TokenEvent(self._request.request_id, pick, asked, token, text, trace))

    def finish(
        self,
        reason: FinishReason,
        abstained: tuple[str, ...],
        asked: tuple[str, ...] = (),
        trace: TokenTrace | None = None,
    ) -> None:
        """Flush the text held back, and say how it ended."""
        assert not self.ended
        self._emit(
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
            )
        )
        self.ended = True

    def fail(self, error: Exception) -> None:
        """Report an error in place of an end."""
        assert not self.ended
        self.ended = True
        self._emit(ErrorEvent(self._request.request_id, error))
