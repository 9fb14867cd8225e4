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
from gac.engine.token_facts import TokenFacts
from gac.errors import GacError, RequestError
from gac.vocabulary.detokenizer import TextStream
from gac.vocabulary.retokenize import MemberContext
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
        self._stream = TextStream(() if request.num_forced else request.stop)
        self._shown = None if request.logprobs is None else ShownTokens()
        if request.forced.begun:
            self._begin_within(request.forced.begun)
        self._num_ensembled = 0

    def _begin_within(self, begun: bytes) -> None:
        """The first forced token goes on with a character, whose bytes so far are no token here."""
        self._stream.push(begun)
        if self._shown is not None:
            self._shown = ShownTokens(-1)
            self._shown.push(begun, 0)

    @property
    def stopped(self) -> bool:
        """Whether a stop string is complete."""
        return self._stream.stopped

    @property
    def num_written(self) -> int:
        """Tokens behind the forced ones; below 0 while some of these are left."""
        return self.num_tokens - self._request.num_forced

    def check_scored(self) -> None:
        """Raises: RequestError if forced tokens are left."""
        if self.num_written < 0:
            what = "echo: the prompt fills a member's context before all of it is scored"
            raise RequestError(what, param="echo", code="context_length_exceeded")

    def begin_answer(self, contexts: Mapping[str, MemberContext]) -> None:
        """All forced tokens are there: from now on they are like any prompt."""
        for context in contexts.values():
            context.settle()
        self._prompt_tokens = {name: len(context.ids) for name, context in contexts.items()}

    def _restart_shown(self) -> int | None:
        """All forced tokens are visible; what is written is followed from here on."""
        if self._shown is not None:
            self._shown = ShownTokens(self.num_tokens)
        return None if self._shown is None else self.num_tokens

    def is_held_back(self) -> bool:
        """Whether nothing more may be written until the reader catches up."""
        return self._sink.is_full()

    def add(self, pick: Pick, token: bytes, facts: TokenFacts) -> None:
        """Add one more token; behind the last forced one a new text begins.

        Raises: GacError if another token than the forced one was picked.
        """
        forced = self._request.forced.tokens
        if self.num_tokens < len(forced) and pick.token != forced[self.num_tokens]:
            raise GacError("the strategy cannot score a text: it does not let `decide` pick")
        self.num_tokens += 1
        self._num_ensembled += len(facts.asked) > 1 and self.num_written > 0
        text = self._stream.push(token)
        shown = None if self._shown is None else self._shown.push(token, len(text))
        if self.num_tokens == self._request.num_forced:
            text += self._stream.flush()
            self._stream = TextStream(self._request.stop)
            shown = self._restart_shown()
        self._sink.put(
            TokenEvent(
                request_id=self._request.request_id,
                pick=pick,
                asked=facts.asked,
                token_bytes=token,
                text=text,
                trace=facts.trace,
                likelihood=facts.likelihood,
                num_shown=max(0, shown or 0),
                at=monotonic(),
            )
        )

    def finish(
        self,
        reason: FinishReason,
        abstained: tuple[str, ...],
        facts: TokenFacts,
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
                completion_tokens=max(0, self.num_written),
                ensembled_tokens=self._num_ensembled,
                abstained=abstained,
                asked=facts.asked,
                trace=facts.trace,
                likelihood=facts.likelihood,
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
