"""The life cycle of an engine: loading, ready, restarting, failed, stopped."""

import logging
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum

from gac.config import Config
from gac.decoding.strategies import StrategyMaker
from gac.engine.engine import Engine
from gac.engine.restart import Restarts
from gac.engine.startup import Started, Watch, make_engine, start_ensemble
from gac.errors import EngineUnavailable, GacError
from gac.members.placement import RayCluster

logger = logging.getLogger(__name__)

STALL_S = 90.0
"""A batch that takes longer makes the service unready; its member is not restarted for it."""

Launch = Callable[[Config, RayCluster | None, Watch], Started]
"""Loads an ensemble; tests replace it."""

SWITCH_INTERVAL_S = 0.0005
"""Python's switch interval, whose default of 5 ms delays replies behind busy threads."""


class State(StrEnum):
    """The state of the service."""

    LOADING = "loading"
    READY = "ready"
    RESTARTING = "restarting"
    FAILED = "failed"


@dataclass(slots=True)
class LoadState:
    """The loading progress of a member."""

    stage: str = "waiting"
    fraction: float = 0.0


class Service:
    """Loads an ensemble on a thread of its own, then runs an engine on it."""

    def __init__(self, config: Config, launch: Launch = start_ensemble) -> None:
        self.config = config
        self.loading = {member.name: LoadState() for member in config.members}
        self.error: GacError | None = None
        self._launch = launch
        self._started: Started | None = None
        self._engine: Engine | None = None
        self._restarts: Restarts | None = None
        self._cluster = RayCluster(config.ray) if config.ray.enabled else None
        self._loaded = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, on_loaded: Callable[[], None] = lambda: None) -> None:
        """Start loading; `on_loaded` is called, on another thread, when loading has ended."""
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        self._thread = threading.Thread(
            target=self._live, args=(on_loaded,), name="service", daemon=True
        )
        self._thread.start()

    def _live(self, on_loaded: Callable[[], None]) -> None:
        """Load, wait until the service is to stop, then free everything.

        All on one thread, which has to stay alive: Ray's processes have the kernel kill them when
        the thread that started them ends.
        """
        try:
            self._load()
        except Exception as error:  # nothing above catches it; kept as the reason
            if not self._stopping.is_set():
                self._fail(error)
        self._loaded.set()
        if not self._stopping.is_set():
            on_loaded()
        self._stopping.wait()
        self._let_go()

    def _load(self) -> None:
        if self._cluster is not None:
            self._cluster.start()
        self._check_wanted()
        started = self._launch(self.config, self._cluster, self._watch)
        make_strategy = StrategyMaker(self.config.strategy)
        timeout_s = self.config.engine.load_timeout_s
        restarts = Restarts(started, self._watch, timeout_s) if started.relaunch else None
        revive = restarts.begin if restarts else None
        engine = make_engine(started, self.config.engine, make_strategy, revive)
        engine.start()
        self._started, self._restarts, self._engine = started, restarts, engine

    def _fail(self, error: Exception) -> None:
        if not isinstance(error, GacError):
            logger.error("loading failed", exc_info=error)
            error = GacError(f"loading failed: {error!r}")
        self.error = error

    def _watch(self, name: str, stage: str, fraction: float) -> None:
        """Note a member's progress.  Raises: EngineUnavailable if the service is stopping."""
        self._check_wanted()
        state = self.loading[name]
        moved = stage != state.stage or int(fraction * 4) != int(state.fraction * 4)
        if moved and stage not in ("starting", "ready"):  # these are logged elsewhere
            share = f" {fraction:.0%}" if 0.0 < fraction < 1.0 else ""
            logger.info("%s: %s%s", name, stage, share)
        state.stage, state.fraction = stage, fraction

    def _check_wanted(self) -> None:
        if self._stopping.is_set():
            raise EngineUnavailable("stopped while loading")

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until loading has succeeded or failed; returns whether it has."""
        return self._loaded.wait(timeout_s)

    @property
    def failure(self) -> GacError | None:
        """Why the engine could not start, or broke."""
        return self.error or (self._engine.broken if self._engine else None)

    @property
    def state(self) -> State:
        """Loading, ready, restarting a member, or failed."""
        if self.failure is not None:
            return State.FAILED
        if self._engine is None:
            return State.LOADING
        return State.RESTARTING if self._reasons else State.READY

    @property
    def _reasons(self) -> list[str]:
        return list(self._restarts.reasons.values()) if self._restarts else []

    @property
    def engine(self) -> Engine:
        """The running engine.  Raises: EngineUnavailable while there is none."""
        if self._engine is None or self.failure is not None:
            raise EngineUnavailable(self.explanation, code="engine_unavailable")
        return self._engine

    @property
    def last_engine(self) -> Engine | None:
        """The engine, also after it has failed; None until members are loaded."""
        return self._engine

    @property
    def started(self) -> Started:
        """The loaded ensemble.  Raises: EngineUnavailable while there is none."""
        if self._started is None:
            raise EngineUnavailable(self.explanation, code="engine_unavailable")
        return self._started

    @property
    def explanation(self) -> str:
        """The state and its cause, as text."""
        if self.failure:
            return self.failure.message
        if reasons := self._reasons:
            return f"{'; '.join(reasons)}; it is being restarted, and requests wait"
        return f"the members are {self.state}"

    @property
    def is_progressing(self) -> bool:
        """Whether it is ready and no batch is overdue."""
        if self.state is not State.READY:
            return False
        return self.engine.roster.silent_s <= STALL_S

    def begin_to_stop(self) -> None:
        """Abort running requests and begin to end members and Ray; `stop` waits for it."""
        self._stopping.set()
        if self._engine is not None:
            self._engine.stop()

    def _let_go(self) -> None:
        with ExitStack() as last_first:  # each runs even if another fails
            if self._cluster is not None:
                last_first.callback(self._cluster.stop)
            if self._engine is not None:
                for member in self._engine.members:
                    last_first.callback(member.close)
            if self._restarts is not None:
                last_first.callback(self._restarts.stop)
            last_first.callback(self.begin_to_stop)

    def stop(self, timeout_s: float = 5.0) -> None:
        """Abort running requests, end the members, and leave Ray."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
