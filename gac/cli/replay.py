"""Generate a traced answer again, and report where it differs."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gac import __version__
from gac.config import Config, RequestsConfig
from gac.core import GenerateRequest
from gac.engine.client_request import MOST_TRACED
from gac.engine.requests import prepare
from gac.engine.service import Service
from gac.engine.writer import WrittenText, write
from gac.errors import GacError, MemberError, RequestError, TraceError
from gac.server.schemas import ConversationTrace
from gac.server.traces import read_traces

Bounds = Mapping[bytes, tuple[float, float]]
"""The best tokens of a combined distribution, each with the lower and upper bound of its value."""
END = b""
_SHOWN = 60
"""Number of characters shown of the text before a divergence."""


@dataclass(frozen=True, slots=True)
class Place:
    """One token of an answer, or its end."""

    shown: str
    token: bytes | None
    """None if generation ended by a limit or a stop string."""
    combined: Bounds


def replay(path: Path, config: Config) -> int:
    """Run the requests of a trace again and compare token by token; 0 identical, 1 diverged.

    Raises: TraceError for what cannot be run again here, MemberError if members cannot be loaded or
    fail.
    """
    try:
        traces = read_traces(path.read_bytes())
    except OSError as error:
        raise TraceError(f"{path}: {error.strerror}") from error
    except TraceError as error:
        raise TraceError(f"{path}: {error.message}") from error
    # Limits on what clients may choose do not apply to the operator.
    service = Service(config.model_copy(update={"requests": RequestsConfig()}))
    service.start()
    try:
        service.wait()
        if service.error is not None:
            raise MemberError(service.error.message)
        for line in dict.fromkeys(
            line for trace in traces for line in _differences(service, trace)
        ):
            print(line, flush=True)
        requests = [_request(service, trace, n) for n, trace in enumerate(traces)]
        results = [
            _replay(service, *one, n if len(traces) > 1 else None)
            for n, one in enumerate(zip(traces, requests, strict=True))
        ]
        return 0 if all(results) else 1
    finally:
        service.stop()


def _request(service: Service, trace: ConversationTrace, number: int) -> GenerateRequest:
    asked = replace(trace.request.request(), trace=MOST_TRACED)
    try:
        [request] = prepare(service.config, service.started, asked)
    except RequestError as error:
        raise TraceError(f"trace[{number}] cannot be run again here: {error.message}") from error
    if set(trace.weights) != set(request.prompts) or not any(trace.weights.values()):
        raise TraceError(f"trace[{number}].weights: must have exactly the members that write")
    return replace(request, weights=trace.weights)


def _replay(
    service: Service, trace: ConversationTrace, request: GenerateRequest, number: int | None
) -> bool:
    """Generate one conversation and print the comparison; returns whether it is identical."""
    if number is not None:
        print(f"conversation {number}:")
    try:
        [text] = write(service.engine, [request])
    except GacError as error:
        raise MemberError(error.message) from error
    recorded, now = _recorded(trace), _now(text)
    for at, (was, became) in enumerate(zip(recorded, now, strict=False)):
        if (was.token, was.shown) != (became.token, became.shown):
            before = b"".join(place.token or b"" for place in recorded[:at])
            print(_divergence(at, before, was, became), flush=True)
            return False
    print(f"identical: {len(trace.tokens)} tokens", flush=True)
    return True


def _differences(service: Service, trace: ConversationTrace) -> list[str]:
    """Ways in which this ensemble differs from the recorded one."""
    ensemble = service.started.ensemble
    lines = []
    if trace.version != __version__:
        lines.append(f"different version: recorded {trace.version}; here {__version__}")
    if (here := list(ensemble.members)) != trace.members:
        lines.append(
            f"different members: recorded {', '.join(trace.members)}; here {', '.join(here)}"
        )
    if ensemble.rule != trace.retokenize:
        lines.append(f"different retokenize: recorded {trace.retokenize}; here {ensemble.rule}")
    if (union := ensemble.union.fingerprint) != trace.union:
        lines.append(f"different union vocabulary: recorded {trace.union}; here {union}")
    return lines


def _recorded(trace: ConversationTrace) -> list[Place]:
    places = [
        _place(bytes(token.bytes), {bytes(c.bytes): (c.value, c.at_most) for c in token.combined})
        for token in (*trace.tokens, *([trace.end] if trace.end else []))
    ]
    return places if trace.end else [*places, _stopped(trace.finish_reason)]


def _now(text: WrittenText) -> list[Place]:
    traced = [(event.token_bytes, event.trace) for event in text.tokens]
    traced += [(END, text.finish.trace)] if text.finish.trace else []
    places = [
        _place(token, {c.token: (c.value, c.at_most) for c in trace.combined} if trace else {})
        for token, trace in traced
    ]
    return places if text.finish.trace else [*places, _stopped(text.finish.reason.value)]


def _place(token: bytes, combined: Bounds) -> Place:
    return Place(_shown(token) if token else "END", token, combined)


def _stopped(reason: str) -> Place:
    return Place(f"no more, finish reason {reason!r}", None, {})


def _shown(token: bytes) -> str:
    """As text, or as bytes if they are not valid UTF-8."""
    try:
        return repr(token.decode())
    except UnicodeDecodeError:
        return repr(token)


def _divergence(at: int, before: bytes, was: Place, became: Place) -> str:
    text = before.decode("utf-8", "replace")
    shown = repr(text if len(text) <= _SHOWN else f"...{text[-_SHOWN:]}")
    lines = [
        f"diverged at token {at}, after {shown}",
        f"  recorded: {was.shown}",
        f"  now:      {became.shown}",
    ]
    if was.token is not None and became.token is not None:
        lines += [
            f"  margin now:      {_margin(became.combined, became.token, was.token)}",
            f"  margin recorded: {_margin(was.combined, was.token, became.token)}",
        ]
    return "\n".join(lines)


def _margin(combined: Bounds, picked: bytes, other: bytes) -> str:
    """How far the picked token's combined value is above the other's, as far as that is known."""
    if picked not in combined:
        return "unknown, the picked token is not among the best"
    low, high = combined[picked]
    if other not in combined:
        least = min(value for value, _ in combined.values())
        return f"about {low - least:.3g} or more, the other is not among the {len(combined)} best"
    other_low, other_high = combined[other]
    if low == high and other_low == other_high:
        return f"{low - other_low:.3g} ({low:.6g} against {other_low:.6g})"
    return f"{low - other_high:.3g} to {high - other_low:.3g} (not every member lists both)"
