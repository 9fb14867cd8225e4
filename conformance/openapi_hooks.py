"""What schemathesis may ask for: nothing that takes the demo members long, and not only refusals.

A body drawn from the document is mostly refused, for a document cannot say that a model must be
there or what fits a context.  So the values of bodies that are meant to be right are moved into
their ranges; bodies that are meant to be wrong stay as they are, but for the lengths asked for.
"""

from collections.abc import Callable, Mapping
from typing import Any

import schemathesis
from schemathesis import GenerationMode

_MOST_TOKENS = 4
_LENGTHS = ("max_tokens", "max_completion_tokens", "max_new_tokens", "n")


def _within(low: float, high: float) -> Callable[[Any], Any]:
    def moved(value: Any) -> Any:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return min(max(value, low), high) if is_number else value

    return moved


_RANGES: Mapping[str, Callable[[Any], Any]] = {
    **{name: _within(1, _MOST_TOKENS) for name in _LENGTHS},
    "max_length": _within(1000, 2000),
    "min_tokens": _within(0, 1),
    "min_new_tokens": _within(0, 1),
    "temperature": _within(0, 2),
    "top_k": _within(0, 50),
    "top_p": _within(0.1, 1),
    "min_p": _within(0, 1),
    "seed": _within(0, 2**63 - 1),
    "presence_penalty": _within(-2, 2),
    "frequency_penalty": _within(-2, 2),
    "repetition_penalty": _within(0.5, 2),
    "threshold": _within(0, 1),
    "trace": _within(0, 5),
    "logprobs": _within(0, 5),
    "model": lambda value: "gac" if isinstance(value, str) else value,
    "stop": lambda value: _stop_strings(value),
    "until": lambda value: _stop_strings(value),
    "logit_bias": lambda value: {"5": -1} if value else value,
}
_DEFAULT_LENGTHS = {"messages": "max_tokens", "prompt": "max_tokens"}
"""By a field that tells the kind of body: its length. Without one a text may fill the context."""
_OURS = ("strategy", "aggregation", "members", "weights", "threshold")
"""Fields whose values are names: drawn ones are never right, and chosen by other tests."""


@schemathesis.hook
def before_call(_: schemathesis.HookContext, case: schemathesis.Case, __: Any) -> None:
    """Change what is about to be sent."""
    mode = case.meta.generation.mode if case.meta else GenerationMode.NEGATIVE
    if mode is GenerationMode.POSITIVE and len(str(case.path_parameters.get("model"))) % 2:
        case.path_parameters["model"] = "gac"
    if not isinstance(case.body, dict):
        return
    if mode is GenerationMode.POSITIVE:
        body = {key: value for key, value in case.body.items() if key not in _OURS}
        case.body = {key: _RANGES.get(key, _same)(value) for key, value in body.items()}
        case.body.pop("gac", None)
        _agree(case.body)
    else:
        most = _within(-(2**70), _MOST_TOKENS)
        case.body = {
            key: most(value) if key in _LENGTHS else value for key, value in case.body.items()
        }
    for kind, length in _DEFAULT_LENGTHS.items():
        if kind in case.body and case.body.get(length) is None:
            if case.body.get("max_completion_tokens") is None and "/v1/" in case.path:
                case.body[length] = _MOST_TOKENS


def _stop_strings(value: Any) -> Any:
    """None of them empty."""
    if isinstance(value, list):
        return [part or "." for part in value]
    return "." if value == "" else value


def _same(value: Any) -> Any:
    return value


def _agree(body: dict[str, Any]) -> None:
    """Let fields agree that depend on each other."""
    if "top_logprobs" in body:
        body["top_logprobs"] = _within(0, 5)(body["top_logprobs"])
        body["logprobs"] = True
    if not body.get("stream"):
        body.pop("stream_options", None)
    if isinstance(chats := body.get("messages_list"), list):
        body["messages_list"] = [_chat(entry) for entry in chats[:4] or [[]]]
    if "messages" in body:
        body["messages"] = _chat(body["messages"])


def _chat(messages: Any) -> Any:
    """A chat of one question, as long as it is a list of messages."""
    if not isinstance(messages, list) or not all(isinstance(one, dict) for one in messages):
        return messages
    texts = [str(one.get("content") or "a")[:50] for one in messages[:1]] or ["a"]
    return [{"role": "user", "content": text} for text in texts]
