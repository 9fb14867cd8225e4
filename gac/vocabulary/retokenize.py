"""The commit rule: how each member's ids follow the bytes that the ensemble writes.

What is committed is bytes.  A member that owns the winning token appends its id for those bytes
(where several share them, the one its tokenizer would give); every other member re-tokenises the
end of its text (`canonical`) or appends T(x) (`append`, GaC section 3.3 eq. (4)).  Encoding is
bounded: it starts at a border at most `HARD_LIMIT` bytes back, and the windowed result is the
definition, not an approximation of encoding everything.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from gac.core import Prompt
from gac.vocabulary.member_vocabulary import MemberVocabulary
from gac.vocabulary.text_encoder import CannotSpell

Rule = Literal["canonical", "append"]

WINDOW = 64
"""Bytes that may always change their tokens: longer than nearly every word in every script."""
HARD_LIMIT = 512
"""Where no border is found, bytes further back are left alone."""
_BLANK = frozenset(b" \t\n\r\v\f")


def window_start(text: bytes | bytearray) -> int:
    """The offset from which the end of a text is encoded again.

    The last place, at least WINDOW bytes back, where a blank follows a non-blank; failing that the
    first character border within HARD_LIMIT bytes of the end.
    """
    floor = max(len(text) - HARD_LIMIT, 0)
    for place in range(len(text) - WINDOW, floor, -1):
        if is_border(text, place):
            return place
    if not floor:
        return 0
    starts = (place for place in range(floor, floor + 4) if not 0x80 <= text[place] < 0xC0)
    return next(starts, floor)


def is_border(text: bytes | bytearray, place: int) -> bool:
    """Whether a blank follows a non-blank here: hardly any token reaches across."""
    return text[place] in _BLANK and text[place - 1] not in _BLANK


@dataclass(slots=True)
class MemberContext:
    """One member's ids of one sequence: its prompt, then the tail that spells what was committed.

    The member has `told` ids at the front as they are here; `ends[k]` is the offset in `text` at
    which tail token k ends.  `text` is the committed bytes, behind a dummy space if `lead` is set.
    A member whose vocabulary cannot spell the text abstains: its ids stay behind for good.
    The first tokens that are committed take the ids in `verbatim`, whatever else would spell them.
    """

    vocabulary: MemberVocabulary
    rule: Rule
    ids: list[int]
    num_prompt_ids: int
    lead: bool
    text: bytearray = field(default_factory=bytearray)
    ends: list[int] = field(default_factory=list)
    told: int = 0
    abstains: bool = False
    verbatim: tuple[int, ...] = ()
    num_verbatim: int = 0
    """How many of `verbatim` are taken."""

    @classmethod
    def start(
        cls,
        vocabulary: MemberVocabulary,
        rule: Rule,
        prompt: Prompt,
        verbatim: tuple[int, ...] = (),
    ) -> "MemberContext":
        """A context that holds the prompt and nothing else."""
        ids = list(prompt.ids)
        return cls(vocabulary, rule, ids, len(ids), prompt.lead, verbatim=verbatim)

    def copy(self) -> "MemberContext":
        """A context that can be taken further without changing this one."""
        return replace(self, ids=self.ids[:], text=self.text[:], ends=self.ends[:])

    @property
    def at_lead(self) -> bool:
        """Whether the next token is the first of a reply that starts with a dummy space."""
        return self.lead and not self.text

    def settle(self) -> None:
        """Count all ids as prompt: none of them is tokenised again."""
        self.num_prompt_ids, self.lead = len(self.ids), False
        self.text.clear()
        self.ends.clear()

    def fills(self, limit: int) -> bool:
        """Whether it has so many ids, and its member still takes part."""
        return len(self.ids) >= limit and not self.abstains

    def commit(self, token: bytes, owned: bool) -> None:
        """Take a token's bytes into the context."""
        added = b" " + token if self.at_lead else token
        self.text += added
        if self.abstains:
            return
        try:
            start, ids = self._ids_for(added, owned)
        except CannotSpell:
            self.abstains = True
            return
        self._replace_tail(start, ids)

    def _ids_for(self, added: bytes, owned: bool) -> tuple[int, list[int]]:
        """The tail index from which ids change, and the ids from there on."""
        if self.num_verbatim < len(self.verbatim):
            self.num_verbatim += 1
            return len(self.ends), [self.verbatim[self.num_verbatim - 1]]
        own_id = self.vocabulary.canonical.get(added) if owned else None
        if own_id is not None:
            return len(self.ends), [own_id]
        if self.rule == "append":
            return len(self.ends), self.vocabulary.encoder.encode(added)
        start, offset = self._window()
        return start, self.vocabulary.encoder.encode(bytes(self.text[offset:]))

    def _window(self) -> tuple[int, int]:
        """The tail index from which the end of the text is encoded again, and its offset."""
        start = bisect_right(self.ends, window_start(self.text))
        return start, self.ends[start - 1] if start else 0

    def spell_ahead(self, tokens: Sequence[bytes]) -> tuple[int, list[int]]:
        """The tail index from which ids change if all these tokens follow, and ids from there on.

        As one text with what a commit would encode again now; under `append` one by one.
        Raises: CannotSpell.
        """
        if self.rule == "append":
            return len(self.ends), [i for t in tokens for i in self.vocabulary.encoder.encode(t)]
        start, offset = self._window()
        text = bytes(self.text[offset:]) + b"".join(tokens)
        return start, self.vocabulary.encoder.encode(text)

    def _replace_tail(self, start: int, ids: list[int]) -> None:
        """Write ids from tail index `start` on; what stays equal in front stays told."""
        place = self.num_prompt_ids + start
        equal = 0
        for old, new in zip(self.ids[place:], ids, strict=False):
            if old != new:
                break
            equal += 1
        self.told = min(self.told, place + equal)
        self.ids[place:] = ids
        del self.ends[start:]
        offset = self.ends[-1] if self.ends else 0
        for token_id in ids:
            offset += len(self.vocabulary.token_bytes[token_id])
            self.ends.append(offset)
