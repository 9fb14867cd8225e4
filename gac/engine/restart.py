"""Restarts members that were lost, with the same resources, while the engine goes on."""

import logging
import threading
import time
from collections import defaultdict

from gac.engine.engine import Engine
from gac.engine.startup import Seedling, Started, Watch, bring_up
from gac.errors import GacError, MemberError
from gac.members.member import Member

logger = logging.getLogger(__name__)

MAX_RESTARTS = 3
WINDOW_S = 600.0
"""If a member is lost more often in ten minutes, restarting does not help (a request crashes it,
say, or memory is short): then requests should fail rather than wait."""
PAUSE_S = 5.0
"""Pause before the next attempt, so that GPU memory of the last one is freed."""


class Restarts:
    """Restarts lost members, each on a thread of its own.

    `reasons` has, by name, why members are being restarted.
    """

    def __init__(self, started: Started, watch: Watch, load_timeout_s: float) -> None:
        self.reasons: dict[str, str] = {}
        self._started = started
        self._watch = watch
        self._load_timeout_s = load_timeout_s
        self._begun: dict[str, list[float]] = defaultdict(list)
        self._seedlings: dict[str, Seedling] = {}
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()

    def begin(self, engine: Engine, member: Member, error: GacError) -> None:
        """Restart a lost member; the engine is told when that has succeeded or failed."""
        self.reasons[member.name] = error.message
        thread = threading.Thread(
            target=self._bring_back,
            args=(engine, member, error),
            name=f"restart-{member.name}",
            daemon=True,
        )
        self._threads.append(thread)
        thread.start()

    def _bring_back(self, engine: Engine, member: Member, error: GacError) -> None:
        name = member.name
        while self._may_begin(name):
            logger.warning("%s; starting it again", error.message)
            started_at = time.monotonic()
            try:
                next_life = self._next_life(member)
            except Exception as failure:  # logged by the next attempt, or in the end
                if self._stopping.is_set():
                    return
                error = _as_ours(name, failure)
                self._stopping.wait(PAUSE_S)
                continue
            logger.warning("member %r is back after %.1f s", name, time.monotonic() - started_at)
            del self.reasons[name]  # before the engine can lose the member again
            engine.welcome(next_life)
            return
        reason = f"{error.message} (given up: {MAX_RESTARTS} restarts in {WINDOW_S / 60:g} minutes)"
        logger.error("%s", reason)
        engine.give_up(MemberError(reason))

    def _may_begin(self, name: str) -> bool:
        now = time.monotonic()
        self._begun[name] = [at for at in self._begun[name] if now - at < WINDOW_S]
        self._begun[name].append(now)
        return len(self._begun[name]) <= MAX_RESTARTS

    def _next_life(self, member: Member) -> Member:
        name = member.name
        self._watch(name, "lost", 0.0)
        member.close()
        assert self._started.relaunch is not None
        self._seedlings[name] = seedling = self._started.relaunch(name)
        return bring_up(self._started, seedling, self._watch, self._load_timeout_s)

    def stop(self, timeout_s: float = 3.0) -> None:
        """Restart nothing any more; members that are loading are ended."""
        self._stopping.set()
        for seedling in list(self._seedlings.values()):
            seedling.close()  # makes the thread that waits for it fail at once
        for thread in self._threads:
            thread.join(timeout_s)


def _as_ours(name: str, failure: Exception) -> GacError:
    if isinstance(failure, GacError):
        return failure
    logger.error("member %r could not be started again", name, exc_info=failure)
    return MemberError(f"member {name!r} could not be started again: {failure!r}")
