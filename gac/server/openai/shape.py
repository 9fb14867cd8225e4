"""What answers to chats and to completions have alike: chunks, usage, and `[DONE]`."""

from abc import abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json

from gac.core import FinishEvent, FinishReason, TokenEvent
from gac.engine.writer import WrittenText
from gac.errors import GacError
from gac.server.errors import error_body
from gac.server.job import Job
from gac.server.openai.body import OpenAIBody
from gac.server.openai.envelope import extras_of, head_of, new_records, usage_of
from gac.server.openai.tolerance import ignored_header
from gac.server.openai.words import Words
from gac.server.shape import Shape, Written, frame


@dataclass(frozen=True)
class Piece:
    """What one chunk tells: some text, the tokens that became visible with it, and the end.

    `committed` are the tokens that came about since the last one, visible or not.
    """

    text: str
    shown: Sequence[TokenEvent]
    committed: Sequence[TokenEvent]
    finish: FinishEvent | None


class Progress:
    """One text as far as it is written; keeps no token that was shown."""

    def __init__(self) -> None:
        self.num_tokens = 0
        self._num_shown = 0
        self._hidden: deque[TokenEvent] = deque()

    def take(self, events: Sequence[Written]) -> Piece:
        """What these events add, in their order."""
        text, shown, finish = [], list[TokenEvent](), None
        for event in events:
            text.append(event.text)
            if isinstance(event, FinishEvent):
                finish = event
            else:
                self.num_tokens += 1
                if event.likelihood is not None:
                    self._hidden.append(event)
            shown += self._uncovered(event.num_shown)
        committed = [event for event in events if isinstance(event, TokenEvent)]
        return Piece("".join(text), shown, committed, finish)

    def _uncovered(self, num_shown: int) -> list[TokenEvent]:
        count = min(num_shown - self._num_shown, len(self._hidden))
        self._num_shown = max(self._num_shown, num_shown)
        return [self._hidden.popleft() for _ in range(count)]


DONE = b"data: [DONE]\n\n"

Choice = dict[str, Any]


class OpenAIShape(Shape):
    """An answer whose choices a subclass writes; the choices of a prompt stand together."""

    prefix: str
    kind: str
    chunk_kind: str

    def __init__(self, job: Job, body: OpenAIBody, words: Words) -> None:
        self.headers: Mapping[str, str] = ignored_header(body.ignored)
        self._job = job
        self._body = body
        self._words = words
        self._head = head_of(job, self.prefix, body.model)
        self._places = {one.request_id: place for place, one in enumerate(job.requests)}
        self._progress = [Progress() for _ in job.requests]

    @abstractmethod
    def _opening(self, place: int) -> Choice | None:
        """The first chunk of a choice, if it has one before there is text."""

    @abstractmethod
    def _added(self, place: int, piece: Piece) -> Choice:
        """A choice in a chunk that adds text, or tokens, to it."""

    @abstractmethod
    def _ended(self, place: int, finish: FinishEvent) -> Choice:
        """A choice in its last chunk, which adds nothing."""

    @abstractmethod
    def _complete(self, place: int, text: WrittenText) -> Choice:
        """A choice in an answer that is sent whole."""

    def begin(self) -> bytes:
        """The openings of all choices."""
        openings = (self._opening(place) for place in range(len(self._progress)))
        return b"".join(self._chunk([choice]) for choice in openings if choice is not None)

    def pieces(self, events: Sequence[Written]) -> bytes:
        """At most one chunk for each choice that grows, and one for each that ends."""
        by_place: dict[int, list[Written]] = {}
        for event in events:
            by_place.setdefault(self._places[event.request_id], []).append(event)
        return b"".join(
            self._chunk([choice])
            for place, its in by_place.items()
            for choice in self._grown(place, self._progress[place].take(its))
        )

    def _grown(self, place: int, piece: Piece) -> Iterator[Choice]:
        """A choice in its next chunks."""
        records = new_records(piece.committed)
        if piece.text or piece.shown or records:
            choice = self._added(place, piece)
            yield {**choice, "gac": {"tokens": records}} if records else choice
        # With a trace the end needs all of the text, see `end`.
        if piece.finish is not None and not self._job.asked.trace:
            if piece.finish.reason is not FinishReason.ABORT:
                extras = extras_of(piece.finish)
                yield {**self._ended(place, piece.finish), "gac": extras}

    def end(self, texts: Sequence[WrittenText], hints: Sequence[str]) -> bytes:
        """What is left to tell, the usage if it is asked for, and the mark of the end."""
        last = b""
        if self._job.asked.trace:
            for place, text in enumerate(texts):
                extras = extras_of(text.finish, self._job, place, text)
                last += self._chunk([{**self._ended(place, text.finish), "gac": extras}])
        if self._body.tells_usage:
            last += self._chunk([], usage=self._usage([text.finish for text in texts]))
        return last + DONE

    def broken(self, error: GacError) -> bytes:
        """The error body; no mark of an end follows."""
        return frame(to_json(error_body(error)))

    def whole(self, texts: Sequence[WrittenText], hints: Sequence[str]) -> bytes:
        """All choices, and the usage."""
        choices = (
            {
                **self._complete(place, text),
                "finish_reason": text.finish.reason.value,
                "gac": extras_of(text.finish, self._job, place, text),
            }
            for place, text in enumerate(texts)
        )
        num_tokens = sum(text.finish.completion_tokens for text in texts)
        usage = usage_of(self._job, num_tokens, [text.finish for text in texts])
        return to_json({**self._head, "object": self.kind, "choices": choices, "usage": usage})

    def in_client_words(self, error: GacError) -> GacError:
        """The error with the names of fields that the client used."""
        return self._words.in_client_words(error)

    def _usage(self, finishes: Sequence[FinishEvent] = ()) -> dict[str, Any]:
        """So far, or when all is written."""
        written = (
            max(0, progress.num_tokens - request.num_forced)
            for progress, request in zip(self._progress, self._job.requests, strict=True)
        )
        return usage_of(self._job, sum(written), finishes)

    def _chunk(self, choices: Sequence[Choice], **fields: Any) -> bytes:
        if self._body.tells_usage and not fields:
            fields["usage"] = self._usage() if self._body.tells_usage_always else None
        chunk = {**self._head, "object": self.chunk_kind, "choices": choices, **fields}
        return frame(to_json(chunk))
