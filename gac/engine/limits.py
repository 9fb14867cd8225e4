"""How much an engine does at once, and how often it tries."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """Sequences that run, those that may wait, new ids in one batch; see `sections.EngineConfig`.

    A request that so many losses of members have met at work, `max_losses`, is not tried again:
    it may be their cause, and would take everybody else's service with it.
    """

    max_sequences: int = 64
    max_queued: int = 1024
    max_batch_tokens: int = 2048
    prefill_chunk: int | None = None
    max_losses: int = 2
