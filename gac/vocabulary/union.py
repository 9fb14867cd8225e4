"""The union of the members' vocabularies: byte strings, plus one END.

Ids are given by first appearance, member by member, never by the order of a `set`, so that they do
not depend on PYTHONHASHSEED.  Source: GaC (arXiv 2406.12585) section 3.2 eq. (1), keyed by bytes.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gac.core import END
from gac.vocabulary.member_vocabulary import MemberVocabulary

NOWHERE = -1
"""The union id of a member's id that takes no part."""


@dataclass(frozen=True)
class UnionVocabulary:
    """V byte strings, `tokens[END]` being empty, and where each member's ids lie among them.

    `places[name]` is int32 [Vm]: the union id of every id of a member, or NOWHERE.
    `lead_places[name]`, for members whose replies start with a dummy space: the same for the first
    token, one leading space taken off; the lone space itself is NOWHERE there.
    """

    tokens: tuple[bytes, ...]
    index: dict[bytes, int]
    places: dict[str, NDArray[np.int32]]
    lead_places: dict[str, NDArray[np.int32]]

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that change with any token or its id."""
        digest = hashlib.sha256()
        for token in self.tokens:
            digest.update(len(token).to_bytes(4, "big") + token)
        return digest.hexdigest()[:16]

    @cached_property
    def rank(self) -> NDArray[np.int32]:
        """The place of every token when all are sorted by bytes, END first; int32 [V]."""
        rank = np.empty(len(self.tokens), dtype=np.int32)
        rank[sorted(range(len(self.tokens)), key=self.tokens.__getitem__)] = np.arange(rank.size)
        return rank

    @cached_property
    def prefix_ends(self) -> NDArray[np.int32]:
        """The rank behind the last token that starts with each token's bytes; int32 [V]."""
        ends = np.empty(len(self.tokens), dtype=np.int32)
        begun: list[int] = []  # tokens that may start the next ones, each starting with the last
        for place, token_id in enumerate(np.argsort(self.rank).tolist()):
            while begun and not self.tokens[token_id].startswith(self.tokens[begun[-1]]):
                ends[begun.pop()] = place
            begun.append(token_id)
        ends[begun] = len(self.tokens)
        return ends

    def own_ids(self, member: MemberVocabulary) -> NDArray[np.int32]:
        """The id that a member's tokenizer gives each token, NOWHERE if it has none; int32 [V]."""
        ids = np.full(len(self.tokens), NOWHERE, dtype=np.int32)
        for token, own_id in member.canonical.items():
            if token in self.index:  # a token that ends the text is not
                ids[self.index[token]] = own_id
        return ids

    @cached_property
    def hashes(self) -> NDArray[np.uint64]:
        """A 64-bit hash of every token's bytes, uint64 [V]; what sampling noise is made from."""
        hashed = (hashlib.blake2b(token, digest_size=8).digest() for token in self.tokens)
        return np.frombuffer(b"".join(hashed), dtype="<u8")


def build_union(
    members: Sequence[MemberVocabulary], leading: frozenset[str] = frozenset()
) -> UnionVocabulary:
    """Unite vocabularies; `leading` names the members whose replies start with a dummy space."""
    index: dict[bytes, int] = {b"": END}
    places = {m.name: _place(index, m.token_bytes, m.stop_ids) for m in members}
    lead_places = {
        m.name: _place(index, _without_lead(m.token_bytes), m.stop_ids)
        for m in members
        if m.name in leading
    }
    return UnionVocabulary(tuple(index), index, places, lead_places)


def _place(
    index: dict[bytes, int], token_bytes: Sequence[bytes], stop_ids: frozenset[int]
) -> NDArray[np.int32]:
    """Union ids of a member's ids; byte strings not met before are added to the index."""
    place = [index.setdefault(token, len(index)) if token else NOWHERE for token in token_bytes]
    for stop in stop_ids:
        place[stop] = END
    return np.array(place, dtype=np.int32)


def _without_lead(token_bytes: Sequence[bytes]) -> list[bytes]:
    return [token[1:] if token.startswith(b" ") else token for token in token_bytes]
