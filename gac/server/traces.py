"""A conversation's trace as JSON: what to write it again takes, and how each token came about."""

import json
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from gac import __version__
from gac.core import FinishEvent, GenerateRequest, TokenEvent
from gac.engine.ensemble import Ensemble
from gac.engine.writer import WrittenText
from gac.errors import TraceError
from gac.server.schemas import ConversationTrace, GenerateBody
from gac.server.trace_records import (
    CandidateRecord,
    CombinedRecord,
    MemberRecord,
    Spelled,
    TokenRecord,
    VerdictRecord,
)
from gac.trace import MemberTrace, TokenTrace


def conversation_trace(
    ensemble: Ensemble, body: GenerateBody, place: int, request: GenerateRequest, text: WrittenText
) -> dict[str, Any]:
    """The fields of `ConversationTrace` for the conversation at one place of a body.

    The records of its tokens are made one by one while they are written as JSON: all at once they
    would take six times the memory of what they are made from.
    """
    weights = ensemble.weights if request.weights is None else request.weights
    return {
        "version": __version__,
        "union": ensemble.union.fingerprint,
        "retokenize": ensemble.rule,
        "members": list(ensemble.members),
        "weights": {name: weights[name] for name in request.prompts},
        "request": _alone(body, place, request),
        "finish_reason": text.finish.reason.value,
        "tokens": (token_record(event) for event in text.tokens),
        "end": token_record(text.finish),
    }


def token_record(event: TokenEvent | FinishEvent) -> TokenRecord | None:
    """How a token, or the END of a text, came about; None if it is not traced."""
    if event.trace is None:
        return None
    if isinstance(event, FinishEvent):
        return _record(b"", event.asked, (), event.trace)
    return _record(event.token_bytes, event.asked, event.pick.owners, event.trace)


def _alone(body: GenerateBody, place: int, request: GenerateRequest) -> GenerateBody:
    """A body that asks for one conversation as the server understood it, all said but weights."""
    strategy = None if request.strategy is None else request.strategy.model_dump()
    chosen = {
        "messages_list": [body.messages_list[place]],
        "seed": request.sampling.seed,
        "strategy": strategy,
        "threshold": None,
        "aggregation": None,
        "members": list(request.prompts),
        "stream": False,
    }
    return body.model_copy(update={**dict(body), **chosen})  # defaults, too, are said


def _record(
    token: bytes, asked: Sequence[str], owners: Sequence[str], trace: TokenTrace
) -> TokenRecord:
    return TokenRecord(
        **_spelled(token),
        outcome=trace.outcome,
        why=trace.why,
        asked=list(asked),
        owners=list(owners),
        agreement=trace.agreement,
        rejected=None if trace.rejected is None else Spelled(**_spelled(trace.rejected)),
        members=[_member(member) for member in trace.members],
        combined=[
            CombinedRecord(**_spelled(one.token), value=one.value, at_most=one.at_most)
            for one in trace.combined
        ],
        verdicts=[
            VerdictRecord(member=one.member, agrees=one.agrees, probability=one.probability)
            for one in trace.verdicts
        ],
    )


def _member(member: MemberTrace) -> MemberRecord:
    return MemberRecord(
        member=member.member,
        weight=member.weight,
        confidence=member.confidence,
        top=[
            CandidateRecord(**_spelled(one.token), probability=one.probability)
            for one in member.top
        ],
    )


def _spelled(token: bytes) -> dict[str, Any]:
    return {"text": token.decode("utf-8", "replace"), "bytes": list(token)}


def read_traces(text: bytes) -> list[ConversationTrace]:
    """The traces of an answer, or one conversation's by itself.

    Raises: TraceError saying what is missing or wrong.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TraceError(f"no valid JSON: {error}") from error
    if not isinstance(data, dict):
        raise TraceError("must be a JSON object: an answer of this server, or a trace in it")
    if "request" in data and "tokens" in data:
        return [_conversation(data, "")]
    traces = _of_choices(data["choices"]) if "choices" in data else data.get("trace")
    if not (isinstance(traces, list) and traces):
        raise TraceError('holds no trace; an answer has one if the request has "trace": true')
    return [_conversation(trace, f"trace[{place}]") for place, trace in enumerate(traces)]


def _of_choices(choices: object) -> list[object]:
    """The traces in an answer of the OpenAI API."""
    entries = choices if isinstance(choices, list) else []
    own = [one.get("gac") for one in entries if isinstance(one, dict)]
    return [one["trace"] for one in own if isinstance(one, dict) and "trace" in one]


def _conversation(data: object, where: str) -> ConversationTrace:
    try:
        trace = ConversationTrace.model_validate_json(json.dumps(data))
    except (ValidationError, RecursionError) as error:
        raise TraceError(_first(error, where)) from error
    if len(trace.request.messages_list) != 1:
        raise TraceError(f"{where or 'the trace'}: must hold exactly one conversation")
    return trace


def _first(error: ValidationError | RecursionError, where: str) -> str:
    if isinstance(error, RecursionError):
        return "is nested too deeply"
    problem = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(str(part) for part in (where, *problem["loc"]) if part != "")
    return f"{place or 'the trace'}: {problem['msg']}"
