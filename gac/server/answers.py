"""The shape of an answer of `/api/generate`: pieces of text, and the whole answer as the end."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic_core import to_json

from gac.engine.writer import WrittenText
from gac.errors import GacError
from gac.server.errors import error_body
from gac.server.job import Job
from gac.server.schemas import GenerateBody
from gac.server.shape import Shape, Written, frame
from gac.server.traces import conversation_trace, token_record


class GenerateShape(Shape):
    """One event for each piece of text, and one for the whole answer or for an error."""

    headers: Mapping[str, str] = {}

    def __init__(self, job: Job, body: GenerateBody) -> None:
        self._job = job
        self._body = body

    def begin(self) -> bytes:
        """Nothing."""
        return b""

    def pieces(self, events: Sequence[Written]) -> bytes:
        """An event for each piece of text, and for each trace where that is asked for."""
        return b"".join(map(frame, self._records(events)))

    def _records(self, events: Sequence[Written]) -> Iterator[bytes]:
        index = {request.request_id: place for place, request in enumerate(self._job.requests)}
        for event in events:
            piece: dict[str, Any] = {"index": index[event.request_id], "text": event.text}
            if record := token_record(event):
                piece["trace"] = record
            if record or event.text:
                yield to_json(piece)

    def end(self, texts: Sequence[WrittenText], hints: Sequence[str]) -> bytes:
        """The whole answer."""
        return frame(self.whole(texts, hints), "end")

    def broken(self, error: GacError) -> bytes:
        """The error body."""
        return frame(to_json(error_body(error)), "error")

    def whole(self, texts: Sequence[WrittenText], hints: Sequence[str]) -> bytes:
        """The fields of `GenerateAnswer`."""
        answer = _answer(texts, time.monotonic() - self._job.started_at)
        if hints:
            answer["hints"] = hints
        if self._body.trace:
            pairs = zip(self._job.requests, texts, strict=True)
            answer["trace"] = (
                conversation_trace(self._job.service.started.ensemble, self._body, place, *pair)
                for place, pair in enumerate(pairs)
            )
        return to_json(answer)

    def in_client_words(self, error: GacError) -> GacError:
        """The error: its words are those of this route."""
        return error


def _answer(texts: Sequence[WrittenText], total_time: float) -> dict[str, Any]:
    """The fields of `GenerateAnswer` but its hints and its trace."""
    ends = [text.finish for text in texts]
    num_tokens = sum(end.completion_tokens for end in ends)
    return {
        "response": [text.text for text in texts],
        "total_time": total_time,
        "num_tokens": num_tokens,
        "num_tokens_per_sec": num_tokens / total_time,
        "finish_reasons": [end.reason.value for end in ends],
        "usage": [
            {"prompt_tokens": end.prompt_tokens, "completion_tokens": end.completion_tokens}
            for end in ends
        ],
        "ensembled_token_ratio": [
            end.ensembled_tokens / max(end.completion_tokens, 1) for end in ends
        ],
        "abstained_members": [end.abstained for end in ends],
    }
