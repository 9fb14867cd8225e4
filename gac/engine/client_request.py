"""What a client asks for, as a plain value, and which values its fields may have."""

import math
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from gac.core import Sampling
from gac.engine.choice import Named, Wishes
from gac.engine.prompts import Conversation, Entry, is_ids
from gac.errors import RequestError

MOST_TRACED = 20
MOST_LOGPROBS = 20
MOST_BIASED = 1024
MOST_STOP_STRINGS = 64
"""Each is searched for after every token, on the engine's thread, which all requests share."""
LONGEST_STOP_STRING = 1024
"""Characters."""


@dataclass(frozen=True, kw_only=True)
class ClientRequest:
    """What a client asks for; the fields and their defaults are those of `/api/generate`.

    An entry of `messages_list` is a conversation, or a plain text that is continued as it stands,
    or a tuple of ids of the reference member (see `Choice.reference`), to which nothing is added.
    `n` texts are written for each entry: its choices, which share a seed, and one reading of the
    prompt.  Without a `seed` one is drawn for each entry.  `trace` is the number of candidates that
    the trace lists for each token; 0 is no trace.  `logprobs` is the number of most probable tokens
    that are told beside each token's own log-probability; None tells nothing.  `logit_bias` is by
    id of the reference member's tokenizer.  With `echo` the tokens of the prompt are scored as
    well, as if the ensemble had picked them, and `max_new_tokens` may be 0.
    """

    messages_list: Sequence[Entry]
    apply_chat_template: bool = False
    max_new_tokens: int = 50
    max_length: int | None = None
    min_new_tokens: int = 0
    ignore_eos: bool = False
    until: Sequence[str] = ()
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int | None = None
    strategy: Named | None = None
    threshold: float | None = None
    weights: Mapping[str, float] | None = None
    aggregation: Named | None = None
    members: Sequence[str] | None = None
    trace: int = 0
    n: int = 1
    logprobs: int | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: Mapping[int, float] | None = None
    echo: bool = False

    @property
    def num_texts(self) -> int:
        """How many texts are to be written."""
        return len(self.messages_list) * self.n

    @property
    def scores_prompts(self) -> bool:
        """Whether the tokens of its prompts have likelihoods, too."""
        return self.echo and self.logprobs is not None

    @property
    def wishes(self) -> Wishes:
        """The fields that choose members, weights, strategy and aggregation."""
        return Wishes(self.strategy, self.threshold, self.weights, self.aggregation, self.members)

    def sampling(self) -> Sampling:
        """How the tokens of an entry's first choice are drawn; a seed, too, if none was sent."""
        return Sampling(
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            min_p=self.min_p,
            seed=secrets.randbits(64) if self.seed is None else self.seed,
        )


_ALLOWED: tuple[tuple[str, str, Callable[[Any], bool]], ...] = (
    ("max_new_tokens", "at least 1, or 0 with echo", lambda n: n >= 0),
    ("max_length", "at least 1", lambda n: n >= 1),
    ("min_new_tokens", "at least 0", lambda n: n >= 0),
    ("temperature", "from 0 to 100", lambda x: 0.0 <= x <= 100.0),
    ("top_k", "at least 0", lambda n: n >= 0),
    ("top_p", "above 0 and at most 1", lambda x: 0.0 < x <= 1.0),
    ("min_p", "from 0 to 1", lambda x: 0.0 <= x <= 1.0),
    ("seed", "from -2^63 to 2^64 - 1", lambda n: -(2**63) <= n < 2**64),
    ("threshold", "from 0 to 1", lambda x: 0.0 <= x <= 1.0),
    ("n", "at least 1", lambda n: n >= 1),
    ("presence_penalty", "from -2 to 2", lambda x: -2.0 <= x <= 2.0),
    ("frequency_penalty", "from -2 to 2", lambda x: -2.0 <= x <= 2.0),
    ("repetition_penalty", "above 0 and at most 10", lambda x: 0.0 < x <= 10.0),
    ("logprobs", f"from 0 to {MOST_LOGPROBS}", lambda n: 0 <= n <= MOST_LOGPROBS),
    ("trace", f"from 0 to {MOST_TRACED}", lambda n: 0 <= n <= MOST_TRACED),
)
"""By field: what it must be, in words and as a test, which no nan passes."""


def check_values(request: ClientRequest) -> None:
    """Check the value of every field, and that `min_new_tokens` fits `max_new_tokens`.

    Raises: RequestError naming the first field that is wrong.
    """
    for field, words, allows in _ALLOWED:
        value = getattr(request, field)
        if value is not None and not allows(value):
            raise _wrong(field, f"must be {words}, not {value}")
    if not (request.max_new_tokens or request.echo):
        raise _wrong("max_new_tokens", "must be at least 1, or 0 with echo, not 0")
    if request.min_new_tokens > request.max_new_tokens:
        excess = f"{request.min_new_tokens} exceeds max_new_tokens {request.max_new_tokens}"
        raise _wrong("min_new_tokens", excess)
    for name, weight in (request.weights or {}).items():
        if not (0.0 <= weight and math.isfinite(weight)):
            raise _wrong(f"weights.{name}", f"must be finite and at least 0, not {weight}")
    _check_biases(request.logit_bias or {})
    _check_stop_strings(request.until)
    _check_prompts(request)


def _check_prompts(request: ClientRequest) -> None:
    if not request.messages_list:
        raise _wrong("messages_list", "must have at least 1 conversation")
    for place, entry in enumerate(request.messages_list):
        where = f"messages_list[{place}]"
        if request.apply_chat_template and (isinstance(entry, str) or is_ids(entry)):
            given = "a plain text" if isinstance(entry, str) else "given as ids"
            what = f"{where} is {given}; a chat template needs messages"
            raise _wrong("apply_chat_template", what)
        if not isinstance(entry, str) and not entry:
            raise _wrong(where, "must have at least 1 message")
        for field, text in _texts(where, entry):
            check_text(field, text)


def _wrong(field: str, what: str) -> RequestError:
    return RequestError(f"{field}: {what}", param=field)


def _check_biases(logit_bias: Mapping[int, float]) -> None:
    if len(logit_bias) > MOST_BIASED:
        raise _wrong("logit_bias", f"must have at most {MOST_BIASED} ids, not {len(logit_bias)}")
    for own_id, bias in logit_bias.items():
        if not -100.0 <= bias <= 100.0:
            raise _wrong(f"logit_bias.{own_id}", f"must be from -100 to 100, not {bias}")


def _check_stop_strings(until: Sequence[str]) -> None:
    if len(until) > MOST_STOP_STRINGS:
        raise _wrong("until", f"must have at most {MOST_STOP_STRINGS} strings, not {len(until)}")
    for place, text in enumerate(until):
        if not 1 <= len(text) <= LONGEST_STOP_STRING:
            what = f"must have at least 1 and at most {LONGEST_STOP_STRING} characters"
            raise _wrong(f"until[{place}]", f"{what}, not {len(text)}")
        check_text(f"until[{place}]", text)


def _texts(where: str, entry: Entry) -> Iterator[tuple[str, str]]:
    """Every text of a prompt, with its place."""
    if isinstance(entry, str):
        yield where, entry
    elif not is_ids(entry):
        for place, message in enumerate(cast("Conversation", entry)):
            if not message["role"]:
                raise _wrong(f"{where}[{place}].role", "must have at least 1 character")
            for key in ("role", "content"):
                yield f"{where}[{place}].{key}", message[key]


def check_text(field: str, text: str) -> None:
    """A lone surrogate cannot be encoded, and no tokenizer takes it.

    Raises: RequestError naming the field.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        what = f"a lone surrogate at character {error.start} is no Unicode text"
        raise _wrong(field, what) from error
