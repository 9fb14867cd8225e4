"""What stands around the choices of an answer: its id, its model, and what it took."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import to_json

from gac import __version__
from gac.core import FinishEvent, GenerateRequest
from gac.engine.choice import reference_member
from gac.engine.names import batch_of
from gac.server.job import Job

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
