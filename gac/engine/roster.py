"""The members of an engine: which are computing, and which are lost at the moment."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future

from gac.core import Extend
from gac.members.inbox import Inbox
from gac.members.member import Member, Reply

Take = Callable[["Future[Reply]", float], None]
"""Called with an answer, and how many seconds it took."""


class Roster:
    """Gives each member one batch at a time; belongs to the engine's thread.

    A lost member is asked nothing and told nothing until it has been restarted.  `losses` and
    `restarts` count both, by name.
    """

    def __init__(self, members: Mapping[str, Member], inbox: Inbox) -> None:
        self.members = dict(members)
        self._inbox = inbox
        self._asked: dict[str, tuple[Future[Reply], float]] = {}
        self._away: set[str] = set()
        self.losses = dict.fromkeys(members, 0)
        self.restarts = dict.fromkeys(members, 0)

    @property
    def silent_s(self) -> float:
        """The age in seconds of the oldest open batch; may be read on any thread."""
        now = time.monotonic()
        return max((now - at for _, at in list(self._asked.values())), default=0.0)

    def is_away(self, member: str) -> bool:
        """Whether a member is lost; may be called from any thread."""
        return member in self._away

    def idle(self) -> list[str]:
        """The members that may be asked."""
        return [n for n in self.members if n not in self._asked and n not in self._away]

    def ask(self, name: str, batch: Sequence[Extend], take: Take) -> None:
        """Give a member a batch; `take` gets the answer on the engine's thread.

        It is not called if the member is lost before.
        """
        asked_at = time.monotonic()
        future = self.members[name].extend(batch)
        self._asked[name] = (future, asked_at)
        future.add_done_callback(
            lambda done: self._inbox.put(lambda: self._answered(name, done, take))
        )

    def _answered(self, name: str, done: "Future[Reply]", take: Take) -> None:
        expected, asked_at = self._asked.get(name, (None, 0.0))
        if done is expected:
            del self._asked[name]
            take(done, time.monotonic() - asked_at)

    def release(self, sequences: Iterable[int]) -> None:
        """Have all members that are not lost forget sequences."""
        for name, member in self.members.items():
            if name not in self._away:
                member.release(sequences)

    def leave(self, member: Member) -> bool:
        """Note that a member is lost; False if that is known already, or it was restarted since."""
        name = member.name
        if name in self._away or self.members[name] is not member:
            return False
        self._away.add(name)
        self.losses[name] += 1
        self._asked.pop(name, None)
        return True

    def come_back(self, member: Member) -> None:
        """Use a restarted member."""
        self.members[member.name] = member
        self._away.discard(member.name)
        self.restarts[member.name] += 1
