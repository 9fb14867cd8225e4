"""What only an ensemble has to tell of a choice: the field `gac`."""

from collections.abc import Iterable
from typing import Any

from gac.core import FinishEvent, TokenEvent
from gac.engine.client_request import ClientRequest
from gac.engine.writer import WrittenText
from gac.server.job import Job
from gac.server.schemas import GenerateBody
from gac.server.trace_records import TokenRecord
from gac.server.traces import conversation_trace, token_record


def extras_of(
    finish: FinishEvent,
    job: Job | None = None,
    place: int = 0,
    text: WrittenText | None = None,
) -> dict[str, Any]:
    """The field of a choice that has ended; its trace, too, where the job asks for one."""
    extras: dict[str, Any] = {
        "ensembled_token_ratio": finish.ensembled_tokens / max(finish.completion_tokens, 1),
        "abstained_members": finish.abstained,
    }
    if job is not None and text is not None and job.asked.trace:
        body = as_generate_body(job.asked)
        ensemble = job.service.started.ensemble
        extras["trace"] = conversation_trace(ensemble, body, place, job.requests[place], text)
    return extras


def new_records(tokens: Iterable[TokenEvent]) -> list[TokenRecord]:
    """How these tokens came about, if they are traced."""
    records = (token_record(token) for token in tokens)
    return [record for record in records if record is not None]


def as_generate_body(asked: ClientRequest) -> GenerateBody:
    """The body of `/api/generate` that asks for the same texts."""
    fields = {
        name: getattr(asked, name) for name in GenerateBody.model_fields if hasattr(asked, name)
    }
    conversations = [
        [{"role": "user", "content": entry}] if isinstance(entry, str) else list(entry)
        for entry in asked.messages_list
    ]
    fields |= {"messages_list": conversations, "until": list(asked.until)}
    if asked.members is not None:
        fields["members"] = list(asked.members)
    return GenerateBody.model_validate(fields)
