"""What stands in front of a completion that echoes its prompt: text, and tokens that were read.

The tokens that are scored come as events, with their text; those that were only read do not.
"""

import codecs
from collections.abc import Sequence
from dataclasses import dataclass

from gac.engine.echo import EchoedPrompt, echoed_prompt
from gac.server.job import Job
from gac.server.openai.envelope import reference_of
from gac.server.openai.likelihoods import Token


@dataclass(frozen=True)
class Front:
    """The text and the tokens before the first event.

    If it `has_dummy_space`, the events' text begins with a space that the client did not send.
    """

    text: str = ""
    tokens: Sequence[Token] = ()
    has_dummy_space: bool = False


def fronts_of(job: Job) -> list[Front]:
    """That of every text that is to be written."""
    if not job.asked.echo:
        return [Front() for _ in job.requests]
    ensemble, reference = job.service.started.ensemble, reference_of(job)
    return [
        front_of(
            echoed_prompt(request, reference, ensemble),
            job.asked.messages_list[place // job.asked.n],
        )
        for place, request in enumerate(job.requests)
    ]


def front_of(prompt: EchoedPrompt, entry: object) -> Front:
    """What is read of a prompt; without the dummy space that the client did not send."""
    read, scored = prompt.token_bytes[: prompt.num_read], prompt.token_bytes[prompt.num_read :]
    joined = b"".join(read)
    if isinstance(entry, str) and b"".join(prompt.token_bytes) == b" " + entry.encode():
        if not joined:
            return Front("", [(token, None) for token in read], has_dummy_space=True)
        joined, read = joined[1:], _without_space(read)
    # A character that ends among the scored tokens is shown with them.
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(joined, final=not scored)
    return Front(text, [(token, None) for token in read])


def _without_space(tokens: Sequence[bytes]) -> tuple[bytes, ...]:
    """The tokens, the first of which that has bytes begins with a space, without it."""
    first = next((place for place, token in enumerate(tokens) if token), None)
    return tuple(token[1:] if place == first else token for place, token in enumerate(tokens))
