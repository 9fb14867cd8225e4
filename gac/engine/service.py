"""The engine's life: loading, ready, failed, stopped; what a server holds on to."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from gac.config import Config
from gac.decoding.strategies import strategy_maker
from gac.engine.engine import Engine, EngineLimits
from gac.engine.startup import Started, start_ensemble
from gac.errors import EngineUnavailable, GacError
from gac.members.placement import RayCluster

logger = logging.getLogger(__name__)

STALL_S = 90.0
"""A member that works but has not answered for so long is taken to hang."""


class State(StrEnum):
    """Where the service is in its life."""

    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


@dataclass(slots=True)
class LoadState:
    """How far a member is with loading."""

    stage: str = "waiting"
    fraction: float = 0.0


class Service:
    """Loads an ensemble on a thread of its own, then runs an engine on it."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.loading = {member.name: LoadState() for member in config.members}
        self.error: GacError | None = None
        self._started: Started | None = None
        self._engine: Engine | None = None
        self._cluster = RayCluster(config.ray) if config.ray.enabled else None
        self._loaded = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, on_failure: Callable[[], None] = lambda: None) -> None:
        """Begin to load; `on_failure` is called, on another thread, if that fails."""
        self._thread = threading.Thread(
            target=self._live, args=(on_failure,), name="service", daemon=True
        )
        self._thread.start()

    def _live(self, on_failure: Callable[[], None]) -> None:
        """Load, wait for the end, let go.

        All on one thread that outlives the work: Ray's own processes ask the kernel to be killed
        when the thread that started them ends.
        """
        try:
            self._load()
        except Exception as error:  # the edge of a thread: kept for whoever asks
            if not isinstance(error, GacError):
                logger.exception("loading failed")
            self.error = error if isinstance(error, GacError) else GacError(repr(error))
            on_failure()
        self._loaded.set()
        self._stopping.wait()
        self._let_go()

    def _load(self) -> None:
        if self._cluster is not None:
            self._cluster.start()
        started = start_ensemble(self.config, self._cluster, self._watch)
        settings = self.config.engine
        limits = EngineLimits(
            settings.max_sequences, settings.max_queued, settings.max_batch_tokens
        )
        engine = Engine(started.ensemble, strategy_maker(self.config.strategy), limits)
        engine.start()
        self._started, self._engine = started, engine
        logger.info("ready")

    def _watch(self, name: str, stage: str, fraction: float) -> None:
        state = self.loading[name]
        if stage != state.stage or int(fraction * 4) != int(state.fraction * 4):
            logger.info("member %s: %s %3.0f %%", name, stage, fraction * 100)
        state.stage, state.fraction = stage, fraction

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until loading has ended, well or badly."""
        return self._loaded.wait(timeout_s)

    @property
    def state(self) -> State:
        """Loading, ready or failed; a lost member is a failure, too."""
        if self.error is not None or (self._engine is not None and self._engine.broken):
            return State.FAILED
        return State.LOADING if self._engine is None else State.READY

    @property
    def engine(self) -> Engine:
        """The running engine.  Raises: EngineUnavailable while there is none."""
        if self._engine is None:
            raise EngineUnavailable(self.explanation, code="engine_unavailable")
        return self._engine

    @property
    def started(self) -> Started:
        """The ensemble at work.  Raises: EngineUnavailable while there is none."""
        if self._started is None:
            raise EngineUnavailable(self.explanation, code="engine_unavailable")
        return self._started

    @property
    def explanation(self) -> str:
        """The state in words, with its cause."""
        error = self.error or (self._engine.broken if self._engine else None)
        return error.message if error else f"the members are {self.state}"

    @property
    def is_progressing(self) -> bool:
        """Ready, and answering where there is work."""
        if self.state is not State.READY:
            return False
        return not self.engine.num_running or self.engine.metrics.since_progress_s < STALL_S

    def _let_go(self) -> None:
        if self._engine is not None:
            self._engine.stop()
        if self._started is not None:
            for member in self._started.ensemble.members.values():
                member.close()
        if self._cluster is not None:
            self._cluster.stop()

    def stop(self, timeout_s: float = 8.0) -> None:
        """Abort what runs, end the members, and leave Ray."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
