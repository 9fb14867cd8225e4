"""The part of an echoed prompt that is shown without being scored."""

from dataclasses import dataclass

from gac.engine.echo import echoed_prompt
from gac.server.job import Job
from gac.server.openai.envelope import reference_of


@dataclass(frozen=True)
class Read:
    """Its text, and the bytes of its tokens."""

    text: str
    tokens: tuple[bytes, ...]


def read_of(job: Job, place: int) -> Read:
    """What was read, and not scored, of the prompt of one choice: all of it without `logprobs`."""
    request, started, reference = job.requests[place], job.service.started, reference_of(job)
    entry = job.asked.messages_list[place // job.asked.n]
    prompt = echoed_prompt(request, reference, started.ensemble)
    tokens = prompt.token_bytes[: prompt.num_read]
    if isinstance(entry, str) and not request.forced.tokens:
        return Read(entry, tokens)
    text = started.tokenizers[reference].text_of(prompt.ids[: prompt.num_read])
    return Read(text.removesuffix(request.forced.begun).decode("utf-8", "replace"), tokens)
