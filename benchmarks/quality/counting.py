"""What every text cost its members, counted where the engine asks them.

One pass is one text's share of one forward pass: a message with ids to compute, or with a row that
is not there yet, or one id that a member wrote by itself.  What only tells a part of the prompt is
left out, and texts that share a batch count each: the figures do not depend on how many were
written at once.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from gac.core import Answer, Extend
from gac.members.member import Member, Reply


@dataclass
class Asked:
    """One message about one text, and what came back: ids written ahead, confidences by place.

    A place is the number of ids in front of a distribution.
    """

    kept: int
    told: int
    wanted: int | None
    """The first place of which a row is wanted, if any is."""
    is_plain: bool = True
    """Wants one row and nothing else, which a member may still have."""
    written: int = 0
    confidences: dict[int, float] = field(default_factory=dict)

    @property
    def end(self) -> int:
        """How many ids the member holds of the text afterwards."""
        return self.kept + self.told + self.written


OfText = Mapping[str, Sequence[Asked]]
"""What the members were asked of one text."""


class Ledger:
    """Notes of all texts since they were last taken."""

    def __init__(self) -> None:
        self._texts: dict[int, dict[str, list[Asked]]] = defaultdict(lambda: defaultdict(list))

    def note(self, member: str, items: Sequence[Extend]) -> list[Asked]:
        """Items that go to a member."""
        asked = [
            Asked(i.kept, len(i.tail), next(iter(i.positions), None), _is_plain(i)) for i in items
        ]
        for item, one in zip(items, asked, strict=True):
            self._texts[item.sequence][member].append(one)
        return asked

    def take(self) -> list[OfText]:
        """The texts in the order in which they were submitted."""
        texts, self._texts = self._texts, defaultdict(lambda: defaultdict(list))
        return [texts[number] for number in sorted(texts)]


def _is_plain(item: Extend) -> bool:
    return not item.lead and item.draft is None and len(item.positions) == 1


def _note_answer(asked: Asked, item: Extend, answer: Answer) -> None:
    end = item.kept + len(item.tail)
    asked.written = len(answer.written)
    positions = item.positions[:1] if item.lead else item.positions
    places = [*positions, *range(end + 1, end + 1 + asked.written)]
    for place, row in zip(places, answer.rows, strict=False):
        asked.confidences[place] = float(row.probs.max())


class CountedMember:
    """A member whose messages are noted."""

    def __init__(self, member: Member, ledger: Ledger) -> None:
        self._member = member
        self._ledger = ledger
        self.name = member.name
        self.facts = member.facts
        self.release = member.release
        self.when_lost = member.when_lost
        self.close = member.close

    def extend(self, batch: Sequence[Extend]) -> "Future[Reply]":
        """Tell the member what sequences consist of; get the rows that were asked for."""
        asked = self._ledger.note(self.name, batch)
        future = self._member.extend(batch)
        future.add_done_callback(lambda done: _note_reply(asked, batch, done))
        return future


def _note_reply(asked: Sequence[Asked], batch: Sequence[Extend], done: "Future[Reply]") -> None:
    if done.exception() is not None:
        return
    for one, item, answer in zip(asked, batch, done.result().answers, strict=True):
        if isinstance(answer, Answer):
            _note_answer(one, item, answer)


@dataclass
class Cost:
    """What some texts took; `picks` are their tokens and the ENDs that were picked.

    `ids` a member computed behind the prompts; of them `taken_back` turned out, by what it was told
    next, not to be the text's: drafts, or other tokens for it.  `drafted` and `wasted` are tokens
    as strategies that draft have counted them.
    """

    picks: int = 0
    tokens: int = 0
    ensembled: int = 0
    passes: dict[str, int] = field(default_factory=dict)
    ids: dict[str, int] = field(default_factory=dict)
    taken_back: dict[str, int] = field(default_factory=dict)
    drafted: int = 0
    wasted: int = 0

    @property
    def passes_per_pick(self) -> float:
        """Forward passes of all members for a token."""
        return sum(self.passes.values()) / self.picks

    @property
    def ensembled_share(self) -> float:
        """The share of tokens for which more than one member was asked."""
        return self.ensembled / max(self.tokens, 1)

    @property
    def taken_back_share(self) -> float:
        """The share of all members' ids that were taken back."""
        return sum(self.taken_back.values()) / max(sum(self.ids.values()), 1)

    def add(self, text: OfText, prompt_ids: Mapping[str, int]) -> None:
        """Add what the members were asked of one text behind its prompt."""
        for member, asked in text.items():
            prompt = prompt_ids[member]
            passes = num_passes(asked, prompt)
            ids = sum(max(0, one.end - max(one.kept, prompt)) for one in asked)
            back = taken_back(asked, prompt)
            for counts, count in ((self.passes, passes), (self.ids, ids), (self.taken_back, back)):
                counts[member] = counts.get(member, 0) + count

    def with_work_of(self, others: Sequence["Cost"]) -> "Cost":
        """The same texts, for whose choice others were written too."""
        total = replace(self)
        for key in ("passes", "ids", "taken_back"):
            counts = dict(getattr(self, key))
            for other in others:
                for member, count in getattr(other, key).items():
                    counts[member] = counts.get(member, 0) + count
            setattr(total, key, counts)
        return total


def num_passes(asked: Sequence[Asked], prompt: int) -> int:
    """The passes of all messages to a member about a text whose prompt has so many ids."""
    count = 0
    known: set[int] = set()  # places whose rows are there: more entries of them take no pass
    for one in asked:
        if one.told:
            known.clear()
        if one.wanted is None:
            count += one.told > 0 and one.kept + one.told > prompt
        else:
            count += not (one.is_plain and one.wanted in known)
        count += one.written
        known.update(one.confidences)
    return count


def taken_back(asked: Sequence[Asked], prompt: int) -> int:
    """Ids behind the prompt that the next message to the member did not keep."""
    pairs = zip(asked, asked[1:], strict=False)
    return sum(max(0, one.end - max(after.kept, prompt)) for one, after in pairs)


def confidences(asked: Sequence[Asked]) -> list[float]:
    """A member's confidences in the order of its tokens, where it wrote a text alone."""
    by_place: dict[int, float] = {}
    for one in asked:
        by_place |= one.confidences
    return [by_place[place] for place in sorted(by_place)]
