"""Counters of the engine, written by its thread and read by anybody."""

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Metrics:
    """What has happened since the start; `progress_at` is a monotonic time in seconds."""

    requests: int = 0
    finished: int = 0
    failed: int = 0
    evictions: int = 0
    tokens: int = 0
    batches: dict[str, int] = field(default_factory=dict)
    progress_at: float = field(default_factory=time.monotonic)

    def progressed(self) -> None:
        """A member has answered."""
        self.progress_at = time.monotonic()

    @property
    def since_progress_s(self) -> float:
        """Seconds since a member last answered."""
        return time.monotonic() - self.progress_at
