"""Members without weights that can be lost, and the seedlings of their next lives."""

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import replace

from gac.core import Extend
from gac.engine.ensemble import Ensemble
from gac.errors import GacError, MemberLost
from gac.members.loader import Seat
from gac.members.local import LocalMember
from gac.members.loss import Loss
from gac.members.member import MemberFacts, Reply
from tests.support.fakes import FakeEnsemble, HashRunner, fake_host


class MortalMember:
    """One life of a member of this process.  Once lost it answers nobody, but for late answers."""

    def __init__(self, member: LocalMember, on_extend: Callable[["MortalMember"], None]) -> None:
        self._member = member
        self._on_extend = on_extend
        self._waiting: list[Future[Reply]] = []
        self.name = member.name
        self.facts: MemberFacts = member.facts
        self.loss = Loss()
        self.is_lost = False
        self.asked: Sequence[Extend] = ()

    def extend(self, batch: Sequence[Extend]) -> "Future[Reply]":
        future: Future[Reply] = Future()
        self.asked = batch
        self._on_extend(self)
        if self.is_lost:
            future.set_exception(MemberLost(f"member {self.name!r} died"))
            return future

        def answer(done: "Future[Reply]") -> None:
            if not future.done():
                future.set_result(done.result())

        self._member.extend(batch).add_done_callback(answer)
        return future

    def release(self, sequences: Iterable[int]) -> None:
        self._member.release(sequences)

    def die(self) -> None:
        """What waits and what comes fails; the engine is told, too."""
        self.is_lost = True
        self.loss.happen(MemberLost(f"member {self.name!r} died"))

    def hang(self) -> None:
        """The engine is told; the answer at hand still comes, too late."""
        self.loss.happen(MemberLost(f"member {self.name!r} hangs"))

    def when_lost(self, tell: Callable[[GacError], None]) -> None:
        self.loss.when(tell)

    def close(self) -> None:
        self._member.close()


class Lives:
    """The members of a fake ensemble, each with as many lives as it takes.

    `on_extend` is called with a member whenever it is asked, on the engine's thread.
    """

    def __init__(
        self, fakes: FakeEnsemble, on_extend: Callable[[MortalMember], None] = lambda _: None
    ) -> None:
        self._fakes = fakes
        self.on_extend = on_extend
        self.runners = fakes.runners
        self.present = {n: self._mortal(m) for n, m in fakes.ensemble.members.items()}
        self.ensemble: Ensemble = replace(fakes.ensemble, members=dict(self.present))
        self.num_lives = dict.fromkeys(self.present, 1)

    def _mortal(self, member: LocalMember) -> MortalMember:
        return MortalMember(member, lambda asked: self.on_extend(asked))

    def next_life(self, name: str) -> MortalMember:
        """A member that knows nothing of what its earlier lives were told."""
        old: HashRunner = self.runners[name]
        self.runners[name] = runner = replace(old, told={}, calls=[])
        ensemble = self.ensemble
        host = fake_host(ensemble.vocabularies[name], runner, ensemble.union)
        facts = self.present[name].facts
        self.present[name] = self._mortal(LocalMember(name, host, facts))
        self.num_lives[name] += 1
        return self.present[name]

    def close(self) -> None:
        for member in self.present.values():
            member.close()


class MortalSeedling:
    """A next life that loads until it is let go on."""

    def __init__(self, lives: Lives, name: str, go_on: threading.Event | None = None) -> None:
        self.name = name
        self.is_closed = False
        self._lives = lives
        self._loading: Future[MemberFacts] = Future()
        self._go_on = go_on

    def progress(self) -> tuple[str, float]:
        return ("weights", 0.5)

    def loaded(self) -> "Future[MemberFacts]":
        if not self._loading.done() and (self._go_on is None or self._go_on.is_set()):
            self._loading.set_result(self._lives.present[self.name].facts)
        return self._loading

    def seat(self, seat: Seat) -> MortalMember:
        return self._lives.next_life(self.name)

    def close(self) -> None:
        self.is_closed = True
