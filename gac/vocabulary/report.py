"""What an ensemble's vocabularies have in common, as plain text for a terminal."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, pairwise
from textwrap import wrap

from gac.vocabulary.common_words import COMMON_WORDS
from gac.vocabulary.member_vocabulary import MemberVocabulary
from gac.vocabulary.text_encoder import CannotSpell
from gac.vocabulary.union import UnionVocabulary

WIDTH = 100
_NAME_WIDTH = 30

Split = tuple[bytes, ...]


def vocabulary_report(
    members: Sequence[MemberVocabulary], leads: Mapping[str, bool], union: UnionVocabulary
) -> str:
    """Tables of the union, of each member, and of each pair; at most 100 columns wide.

    `leads` says by name whether a member's first token of a reply carries a dummy space.
    """
    lines = [f"Union vocabulary: {len(union):,} tokens, fingerprint {union.fingerprint}", ""]
    lines += [*_member_table(members, leads), ""]
    for member in members:
        lines += _member_notes(member)
    if len(members) > 1:
        lines += ["", *_pair_table(members)]
    return "\n".join(lines) + "\n"


def _member_table(members: Sequence[MemberVocabulary], leads: Mapping[str, bool]) -> list[str]:
    rows = [["member", "family", "ids", "masked", "bytes lacking", "reply starts with"]]
    for member in members:
        rows.append(
            [
                member.name,
                member.family,
                f"{len(member.token_bytes):,}",
                f"{len(member.masked_ids):,}",
                str(len(member.encoder.missing_bytes)),
                "dummy space" if leads.get(member.name) else "text",
            ]
        )
    return _table(rows)


def _member_notes(member: MemberVocabulary) -> list[str]:
    """The END set, and the bytes that no token spells."""
    texts = member.stop_texts
    ends = [f"{i} {texts[i]!r}" if i in texts else str(i) for i in sorted(member.stop_ids)]
    notes = f"END of {_clip(member.name)}: " + (", ".join(ends) or "none")
    lines = wrap(notes, WIDTH, subsequent_indent="  ")
    if missing := sorted(member.encoder.missing_bytes):
        notes = f"{_clip(member.name)} cannot spell: " + ", ".join(_ranges(missing))
        lines += wrap(notes, WIDTH, subsequent_indent="  ")
    return lines


def _ranges(numbers: Sequence[int]) -> Iterator[str]:
    """Sorted bytes in hexadecimal, neighbours joined."""
    breaks = [place for place, (a, b) in enumerate(pairwise(numbers), 1) if b != a + 1]
    for start, stop in pairwise([0, *breaks, len(numbers)]):
        first, last = numbers[start], numbers[stop - 1]
        yield f"{first:02X}" if first == last else f"{first:02X}-{last:02X}"


def _pair_table(members: Sequence[MemberVocabulary]) -> list[str]:
    """Shared byte strings, and how often common words are cut alike.

    Source: GaC (arXiv 2406.12585) Figure 2: a leading space and the word.
    """
    splits = {member.name: _word_splits(member) for member in members}
    rows = [["member", "member", "shared", "of smaller", "words alike"]]
    for a, b in combinations(members, 2):
        shared = len(a.canonical.keys() & b.canonical.keys())
        smaller = min(len(a.canonical), len(b.canonical))
        pairs = list(zip(splits[a.name], splits[b.name], strict=True))
        alike = sum(x is not None and x == y for x, y in pairs)
        rows.append(
            [a.name, b.name, f"{shared:,}", f"{shared / smaller:.1%}", f"{alike / len(pairs):.1%}"]
        )
    return _table(rows, left=2)


def _word_splits(member: MemberVocabulary) -> list[Split | None]:
    """The tokens of each common word behind a space; None where a byte is lacking."""
    return [_split(member, b" " + word.encode()) for word in COMMON_WORDS]


def _split(member: MemberVocabulary, text: bytes) -> Split | None:
    try:
        return tuple(member.token_bytes[i] for i in member.encoder.encode(text))
    except CannotSpell:
        return None


def _table(rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Columns as wide as their widest cell; the first `left` flush left, the others right."""
    clipped = [[_clip(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*clipped, strict=True)]
    return ["  ".join(_cells(row, widths, left)).rstrip() for row in clipped]


def _cells(row: Sequence[str], widths: Sequence[int], left: int) -> Iterator[str]:
    for place, (cell, width) in enumerate(zip(row, widths, strict=True)):
        yield cell.ljust(width) if place < left else cell.rjust(width)


def _clip(text: str) -> str:
    return text if len(text) <= _NAME_WIDTH else text[: _NAME_WIDTH - 1] + "…"
