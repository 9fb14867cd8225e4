"""Counters of the engine, written by its thread and read by anybody."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Metrics:
    """What has happened since the start; a sequence counts once, by how it ended."""

    finished: int = 0
    failed: int = 0
    aborted: int = 0
    evictions: int = 0
    tokens: int = 0
    batches: dict[str, int] = field(default_factory=dict)
