"""What stands around the choices of an answer, and what only an ensemble has to tell of each."""

import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic_core import to_json

from gac import __version__
from gac.core import FinishEvent, GenerateRequest, TokenEvent
from gac.engine.choice import reference_member
from gac.engine.client_request import ClientRequest
from gac.engine.names import batch_of
from gac.engine.writer import WrittenText
from gac.server.job import Job
from gac.server.schemas import GenerateBody
from gac.server.trace_records import TokenRecord
from gac.server.traces import conversation_trace, token_record

Head = Mapping[str, Any]


def head_of(job: Job, prefix: str, model: str) -> Head:
    """The fields that the answer and each of its chunks begin with."""
    return {
        "id": f"{prefix}-{batch_of(job.requests[0].request_id)}",
        "created": int(time.time()),
        "model": model,
        "system_fingerprint": _fingerprint(job),
    }


def _fingerprint(job: Job) -> str:
    """A hash of all but the request and the seed that the text depends on."""
    ensemble, first = job.service.started.ensemble, job.requests[0]
    weights = ensemble.weights if first.weights is None else first.weights
    strategy = first.strategy or job.service.config.strategy
    told = {
        "union": ensemble.union.fingerprint,
        "strategy": strategy.model_dump(mode="json"),
        "weights": {name: weights[name] for name in first.prompts},
        "retokenize": ensemble.rule,
        "version": __version__,
    }
    return f"fp_{hashlib.sha256(to_json(told)).hexdigest()[:12]}"


def reference_of(job: Job) -> str:
    """The member in whose tokens a prompt is counted."""
    first = job.requests[0]
    return reference_member(list(first.prompts), first.strategy or job.service.config.strategy)


def usage_of(
    job: Job, completion_tokens: int, finishes: Sequence[FinishEvent] = ()
) -> dict[str, Any]:
    """The field `usage`: prompts by the reference member's tokens, and by every member's.

    What other members count of a prompt that is scored is known at the end, from `finishes`.
    """
    counts = (
        [finish.prompt_tokens for finish in finishes]
        if finishes
        else [_prompt_tokens(request) for request in job.requests]
    )
    prompts = [dict(one) for one in counts[:: job.asked.n]]
    name = reference_of(job)
    prompt_tokens = sum(counts[name] for counts in prompts)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "gac": {"prompt_tokens": prompts},
    }


def _prompt_tokens(request: GenerateRequest) -> dict[str, int]:
    """By member; of a prompt that is scored, all tokens of the one whose ids these are."""
    counts = {name: len(prompt.ids) for name, prompt in request.prompts.items()}
    forced = request.forced
    if forced.member is not None:
        return {forced.member: counts[forced.member] + len(forced.own_ids)}
    return counts


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
