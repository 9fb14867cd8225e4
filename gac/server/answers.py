"""What a request's events are as JSON: pieces of text while it is written, and the whole answer."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json

from gac.core import ErrorEvent, Event, GenerateRequest
from gac.engine.client_request import ClientRequest
from gac.engine.engine import Engine
from gac.engine.hints import hints_for
from gac.engine.service import Service
from gac.engine.writer import WrittenText
from gac.server.schemas import GenerateBody
from gac.server.traces import conversation_trace, token_record


@dataclass(frozen=True)
class Job:
    """One POST that was accepted: its body and what the engine makes of it."""

    service: Service
    body: GenerateBody
    asked: ClientRequest
    requests: Sequence[GenerateRequest]
    started_at: float
    """By `time.monotonic`."""
    traced_bytes: int
    """The most memory that its traces may take."""

    @property
    def engine(self) -> Engine:
        """The engine that generates it.  Raises: EngineUnavailable if it has failed."""
        return self.service.engine

    def pieces(self, events: Iterable[Event]) -> Iterator[bytes]:
        """JSON for each event with text, and for each with a trace where that is asked for."""
        index = {request.request_id: place for place, request in enumerate(self.requests)}
        for event in events:
            if isinstance(event, ErrorEvent):
                continue
            piece: dict[str, Any] = {"index": index[event.request_id], "text": event.text}
            if record := token_record(event):
                piece["trace"] = record
            if record or event.text:
                yield to_json(piece)

    def answer(self, texts: Sequence[WrittenText], hints: Sequence[str]) -> bytes:
        """The JSON of the whole answer."""
        answer = _answer(texts, time.monotonic() - self.started_at)
        if hints:
            answer["hints"] = hints
        if self.body.trace:
            pairs = zip(self.requests, texts, strict=True)
            answer["trace"] = (
                conversation_trace(self.service.started.ensemble, self.body, place, *pair)
                for place, pair in enumerate(pairs)
            )
        return to_json(answer)

    def hints(self, texts: Sequence[WrittenText]) -> list[str]:
        """Hints for the client, e.g. that a chat template was not applied."""
        tokenizers = self.service.started.tokenizers
        return hints_for(self.asked, (tokenizers[n] for n in self.requests[0].prompts), texts)


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
