"""Steps beyond the committed text: a member's draft, and the other members' verdicts on it.

Rows that are there already are not asked for again; those that were lost by an eviction or with a
member are.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gac.core import END, Extend, GenerateRequest, Pick, Row
from gac.core import Draft as DraftOrder
from gac.decoding.flow import Draft, Drafted, Judge, Score, Scored, Verdict
from gac.decoding.sampling import needs_all_entries
from gac.engine.ahead import FORCED_IDS, scored_ahead
from gac.engine.completion import SHORT, Listing
from gac.engine.further import Further, further_of
from gac.engine.known import Known
from gac.engine.metrics import Metrics
from gac.engine.picks import Picks
from gac.errors import GacError
from gac.vocabulary.alignment import LookAhead, look_ahead, num_final, scored_ids
from gac.vocabulary.union import UnionVocabulary


@dataclass(frozen=True, slots=True)
class Place:
    """The state of a sequence that does not change during a step.

    `limits` are the most ids it may have at each member; none of the next `num_endless` tokens may
    be END.  Rows to pick from list what `listing` says, whatever else they list.
    """

    request: GenerateRequest
    known: Mapping[str, Known]
    limits: Mapping[str, int]
    union: UnionVocabulary
    num_tokens: int
    num_endless: int
    picks: Picks
    metrics: Metrics
    listing: Listing = SHORT


class OpenDraft:
    """A draft while its member writes it."""

    def __init__(self, step: Draft, place: Place) -> None:
        self.members = (step.member,)
        self._step = step
        self._place = place
        self._known = place.known[step.member]
        self._ahead = self._known.context.copy()
        self._picks: list[Pick] = []
        self._rows: list[Row] = []
        left = place.request.num_forced - place.num_tokens
        self._dense = left <= 0 and needs_all_entries(place.request.sampling)
        self._room = 0
        if not self._ahead.abstains:
            room = place.limits[step.member] - len(self._ahead.ids)
            most = place.request.most_tokens - place.num_tokens
            if left > 0 and place.request.num_endless(place.request.num_forced):
                most = left  # a message asks first for the rows where END is excluded
            self._room = min(step.max_tokens, most, room)
        self.take()

    @property
    def result(self) -> Drafted:
        """The draft, once nothing is lacking."""
        return Drafted(tuple(self._picks), tuple(self._rows))

    def lacks(self, member: str) -> bool:
        """Whether it has to go on."""
        return len(self._picks) < self._room

    def num_missing(self, member: str) -> int:
        """Ids that the member has yet to compute before it can go on."""
        return len(self._ahead.ids) - self._known.num_held(self._ahead.ids)

    def num_slots(self, member: str) -> int:
        """How many K/V slots of a member the whole draft takes."""
        if member not in self.members:
            return 0
        return len(self._ahead.ids) + self._room - len(self._picks)

    def ask(self, member: str, budget: int) -> Extend:
        """The message that lets the member continue its draft."""
        ids, done = self._ahead.ids, len(self._picks)
        if forced := self._place.request.forced.tokens[self._place.num_tokens + done :]:
            return self._ask_forced(forced[:FORCED_IDS], budget)
        order = DraftOrder(
            self._room - done - 1,
            0.0,
            self._place.request.sampling,
            self._place.num_tokens + done - self._place.request.num_forced,
        )
        num_endless = max(0, self._place.num_endless - done)
        is_again = self._known.row_after(ids, num_endless > 0) is not None
        item = self._known.tell_ahead(
            ids,
            budget,
            (len(ids),),
            num_endless,
            self._dense,
            self._place.listing.entries,
            draft=order,
        )
        if is_again and item.positions:
            self._place.metrics.note_completion(self._dense)
        return item

    def _ask_forced(self, forced: tuple[int, ...], budget: int) -> Extend:
        """The message that asks for the rows in front of tokens which the member has to draft."""
        place, ids = self._place, self._ahead.ids
        here = place.num_tokens + len(self._picks)
        room = FORCED_IDS - (len(ids) - len(self._known.context.ids))
        room = min(room, budget - self.num_missing(self._step.member))
        tokens = [place.union.tokens[token] for token in scored_ahead(place.request, forced, here)]
        tail, ends = scored_ids(self._ahead, tokens, room, owned=True)
        listing = place.listing.of(forced[: len(ends) + 1])
        positions = (len(ids), *(len(ids) + end for end in ends))
        dense = self._dense or listing.dense
        return self._known.tell_ahead([*ids, *tail], budget, positions, 0, dense, listing.entries)

    def take(self) -> None:
        """Pick from the rows that are there."""
        while self.lacks(self._step.member):
            done = len(self._picks)
            entries = self._known.row_after(self._ahead.ids, done < self._place.num_endless)
            if entries is None:
                return
            row = Row(self._step.member, self._place.num_tokens + done, entries)
            pick = self._place.picks.pick(row, self._step.decide)
            if pick is None:
                if entries.is_complete:
                    raise GacError("a token stays undecided although all entries are known")
                self._dense = True
                return
            self._picks.append(pick)
            self._rows.append(row)
            if pick.token == END:
                self._room = len(self._picks)
            else:
                self._ahead.commit(self._place.union.tokens[pick.token], owned=True)


@dataclass(slots=True)
class _Sheet:
    """One member's verdicts on a draft: `own` holds its own token for each drafted one.

    `open` are the drafted tokens whose verdict is not there yet.
    """

    known: Known
    ahead: LookAhead
    own: tuple[int, ...]
    verdicts: list[Verdict | None]
    open: list[int]
    dense: bool = field(default=False)

    def take(self, member: str, place: Place, judge: Judge) -> None:
        """Judge the rows that are there."""
        for n in list(self.open):
            ids = self.ahead.ids[: self.ahead.places[n]]
            entries = self.known.row_after(ids, n < place.num_endless)
            if entries is None:
                continue
            verdict = judge(Row(member, place.num_tokens + n, entries), self.own[n])
            if verdict is not None:
                self.verdicts[n] = verdict
                self.open.remove(n)
            elif entries.is_complete:
                raise GacError("a drafted token cannot be verified although all entries are known")
            else:
                self.dense |= bool((entries.ids == self.own[n]).any())

    def num_seen(self, place: Place) -> int:
        """How many rows are there but list too few entries for a verdict."""
        ids = (self.ahead.ids[: self.ahead.places[n]] for n in self.open)
        return sum(
            self.known.row_after(told, n < place.num_endless) is not None
            for told, n in zip(ids, self.open, strict=True)
        )

    @property
    def needed(self) -> list[int]:
        """The ids up to the last row that is wanted."""
        last = self.ahead.places[self.open[-1]] if self.open else 0
        return self.ahead.ids[:last]


class OpenScore:
    """A draft while others verify it, each in one pass."""

    def __init__(self, step: Score, place: Place) -> None:
        self._step = step
        self._place = place
        tokens = [place.union.tokens[token] for token in step.tokens]
        aheads = {
            name: look_ahead(place.known[name].context, tokens)
            for name in step.members
            if not place.known[name].context.abstains
        }
        self.members = tuple(aheads)
        limits = [_num_fitting(ahead, place.limits[name]) for name, ahead in aheads.items()]
        self._num_tokens = min([len(tokens), *(count for count in limits if count is not None)])
        self._num_final = min(num_final(tokens), self._num_tokens)
        self._sheets = {name: self._sheet(name, ahead) for name, ahead in aheads.items()}
        self.take()

    def _sheet(self, member: str, ahead: LookAhead) -> _Sheet:
        known, places = self._place.known[member], ahead.places[: self._num_tokens]
        union_ids = self._place.union.places[member]
        own = tuple(
            int(union_ids[ahead.ids[place]]) if place is not None and token != END else END
            for place, token in zip(places, self._step.tokens, strict=False)
        )
        verdicts: list[Verdict | None] = [None] * len(places)
        if len(places) < self._num_tokens:  # a token it cannot spell is not its favourite
            verdicts.append(Verdict(agrees=False, probability=0.0))
        waiting = [n for n, place in enumerate(places) if place is not None]
        return _Sheet(known, ahead, own, verdicts, waiting)

    @property
    def result(self) -> Scored:
        """The verdicts, once nothing is lacking."""
        verdicts = {name: tuple(sheet.verdicts) for name, sheet in self._sheets.items()}
        return Scored(self._num_tokens, self._num_final, verdicts)

    def lacks(self, member: str) -> bool:
        """Whether a verdict of this member is not there yet."""
        return bool(self._sheets[member].open)

    def num_missing(self, member: str) -> int:
        """Ids that the member has yet to compute."""
        sheet = self._sheets[member]
        return len(sheet.needed) - sheet.known.num_held(sheet.needed)

    def num_slots(self, member: str) -> int:
        """How many K/V slots the draft takes."""
        return len(self._sheets[member].needed) if member in self._sheets else 0

    def ask(self, member: str, budget: int) -> Extend:
        """The message that asks for all rows that are wanted, and its own tokens' entries."""
        sheet = self._sheets[member]
        positions = tuple(place for n in sheet.open if (place := sheet.ahead.places[n]))
        num_endless = sum(n < self._place.num_endless for n in sheet.open)
        own = {sheet.own[n] for n in sheet.open}
        num_again = sheet.num_seen(self._place)
        further = self._further(member, sheet, budget)
        item = sheet.known.tell_ahead(
            [*sheet.needed, *further.ids],
            budget,
            (*positions, *further.positions),
            num_endless,
            sheet.dense,
            tuple(sorted(own.union(further.entries))),
        )
        for _ in range(num_again if item.positions else 0):
            self._place.metrics.note_completion(sheet.dense)
        return item

    def _further(self, member: str, sheet: _Sheet, budget: int) -> Further:
        """What is told beyond the draft, where forced tokens follow it."""
        place, size = self._place, len(self._step.tokens)
        here = place.num_tokens + size
        forced = place.request.forced.tokens[here : here + FORCED_IDS]
        room = min(
            budget - self.num_missing(member),
            FORCED_IDS - (len(sheet.needed) - len(sheet.known.context.ids)),
        )
        if not forced or room < 1:
            return Further()
        tokens = [place.union.tokens[token] for token in (*self._step.tokens, *forced)]
        ahead = look_ahead(sheet.known.context, tokens)
        return further_of(ahead, size, sheet.needed, room, place.union.places[member], forced)

    def take(self) -> None:
        """Judge the rows that are there."""
        for member, sheet in self._sheets.items():
            sheet.take(member, self._place, self._step.judge)


def _num_fitting(ahead: LookAhead, limit: int) -> int | None:
    """How many tokens of a draft start before a context is full; None if all do."""
    over = (n for n, place in enumerate(ahead.places) if place is not None and place >= limit)
    return next(over, None)


Outlook = OpenDraft | OpenScore


def open_outlook(step: Draft | Score, place: Place) -> Outlook:
    """Begin to answer a step."""
    place.picks.forget(place.num_tokens)
    return OpenDraft(step, place) if isinstance(step, Draft) else OpenScore(step, place)
