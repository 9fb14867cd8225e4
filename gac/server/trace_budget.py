"""How much memory the traces and likelihoods of answers may take, each and together."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from gac.engine.client_request import ClientRequest
from gac.errors import EngineOverloaded, RequestError

TOKEN_BYTES = 1100
MEMBER_BYTES = 700
CANDIDATE_BYTES = 330
"""What a traced token takes: itself, each member's part, each candidate of its lists.

Measured on CPython 3.11 (64 bits) with 2 and 4 members and 1, 5 and 20 candidates: 570, 470 and
90 bytes are held until the answer is complete; its JSON has 170, 73 and 78 bytes, and while it is
written it takes up to three times that, as its buffer doubles and is copied in the end.
"""
MOST_OF_ONE_ANSWER = 256 * 2**20
MOST_OF_ALL = 2**30

_KEPT = {"trace": "the traces", "logprobs": "the likelihoods"}


def traced_bytes(request: ClientRequest, num_members: int, num_scored: int = 0) -> int:
    """What the traces and likelihoods of an answer take at most.

    `num_scored` tokens of prompts have likelihoods, too.
    """
    num_tokens = request.num_texts * (request.max_new_tokens + 1)
    size = 0
    if request.trace:
        num_lists = num_members + 1  # one for every member, and one for the combined distribution
        of_token = TOKEN_BYTES + num_members * MEMBER_BYTES
        size += num_tokens * (of_token + num_lists * request.trace * CANDIDATE_BYTES)
    if request.logprobs is not None:
        of_token = TOKEN_BYTES + request.logprobs * CANDIDATE_BYTES
        size += (num_tokens + num_scored) * of_token
    return size


def field_of(request: ClientRequest) -> str:
    """The field that asks for what takes the memory."""
    return "trace" if request.trace else "logprobs"


def check_trace(request: ClientRequest, num_members: int, num_scored: int = 0) -> None:
    """Check what one answer may hold.  Raises: RequestError naming what it consists of."""
    size = traced_bytes(request, num_members, num_scored)
    if size > MOST_OF_ONE_ANSWER:
        field = field_of(request)
        scored = f", and {num_scored} tokens of prompts" if num_scored else ""
        raise RequestError(
            f"{field}: {request.num_texts} texts x max_new_tokens "
            f"{request.max_new_tokens}{scored} with {field} {getattr(request, field)} and "
            f"{num_members} members may "
            f"take {_mib(size)} MiB of memory, the limit is {_mib(MOST_OF_ONE_ANSWER)}; "
            "lower one of them",
            param=field,
        )


class TraceBudget:
    """The traces that are held now, by all answers that are being written or sent."""

    def __init__(self, most_bytes: int = MOST_OF_ALL) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self.held_bytes = 0

    def check(self, size: int, field: str) -> None:
        """Raises: EngineOverloaded if so many bytes more cannot be held now."""
        if size and self.held_bytes + size > self._most_bytes:
            raise EngineOverloaded(
                f"{field}: {_KEPT[field]} of this answer may take {_mib(size)} MiB of memory, and "
                f"those of other answers hold {_mib(self.held_bytes)} of {_mib(self._most_bytes)}; "
                "try again later, or ask for fewer tokens or candidates",
                param=field,
                code="traces_overloaded",
            )

    @contextmanager
    def hold(self, size: int, field: str) -> Iterator[None]:
        """Reserve bytes for the block.  Raises: EngineOverloaded if they are not there."""
        with self._lock:
            self.check(size, field)
            self.held_bytes += size
        try:
            yield
        finally:
            with self._lock:
                self.held_bytes -= size


def _mib(size: int) -> int:
    return -(-size // 2**20)
