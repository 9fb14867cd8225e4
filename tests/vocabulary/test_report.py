from gac.vocabulary.common_words import COMMON_WORDS
from gac.vocabulary.member_vocabulary import read_member_vocabulary
from gac.vocabulary.report import WIDTH, vocabulary_report
from gac.vocabulary.union import build_union
from tests.support.fakes import byte_level_definition, fake_vocabulary, unigram_definition


def report_of(members, leads=None) -> list[str]:
    union = build_union(members)
    lines = vocabulary_report(members, leads or {}, union).splitlines()
    assert lines[0] == f"Union vocabulary: {len(union):,} tokens, fingerprint {union.fingerprint}"
    assert max(map(len, lines)) <= WIDTH
    return lines


def cells(lines: list[str], start: str) -> list[list[str]]:
    return [line.split() for line in lines if line.startswith(start)]


def test_about_500_different_common_words() -> None:
    assert 450 <= len(COMMON_WORDS) <= 550
    assert len(set(COMMON_WORDS)) == len(COMMON_WORDS)
    assert all(word.isascii() and word.isalpha() and word.islower() for word in COMMON_WORDS)


def test_members_are_described() -> None:
    a = fake_vocabulary("a", byte_level_definition(["the"], specials=("<|pad|>", "<|end|>")))
    b = fake_vocabulary("b", unigram_definition(["the"], specials=("</s>",)))
    lines = report_of([a, b], {"a": False, "b": True})
    size = len(b.token_bytes)
    assert cells(lines, "a ")[0] == ["a", "byte-level", "263", "4", "0", "text"]
    assert cells(lines, "b ")[0] == ["b", "metaspace", str(size), "4", "0", "dummy", "space"]
    assert "END of a: 259 '<|end|>'" in lines
    assert "END of b: 259 '</s>'" in lines


def test_pairs_share_bytes_and_cut_words_alike() -> None:
    half = [f" {word}" for word in COMMON_WORDS[::2]]
    a = fake_vocabulary("a", byte_level_definition([f" {word}" for word in COMMON_WORDS]))
    b = fake_vocabulary("b", byte_level_definition(half))
    twin = fake_vocabulary("twin", byte_level_definition(half))
    lines = report_of([a, b, twin])
    shared = len(set(a.token_bytes) & set(b.token_bytes) - {b""})
    [row] = [row for row in cells(lines, "a ") if row[1] == "b"]
    assert row[2] == f"{shared:,}"
    assert row[3] == f"{shared / len(b.canonical):.1%}"
    words = [b" " + word.encode() for word in COMMON_WORDS]
    pieces = [[[m.token_bytes[i] for i in m.encoder.encode(w)] for w in words] for m in (a, b)]
    alike = sum(x == y for x, y in zip(*pieces, strict=True))
    assert 0.5 <= alike / len(words) < 0.95
    assert row[4] == f"{alike / len(words):.1%}"
    [row] = [row for row in cells(lines, "b ") if row[1] == "twin"]
    assert row[3:] == ["100.0%", "100.0%"]


def test_one_member_has_no_pairs() -> None:
    lines = report_of([fake_vocabulary("a", byte_level_definition([]))])
    assert not any("shared" in line for line in lines)


def test_lacking_bytes_and_unnamed_stops_are_listed() -> None:
    stops = {0, 1, 2, 9, 255, ord("e"), 280}
    member = read_member_vocabulary("a", byte_level_definition([]), stops, 300)
    lines = report_of([member, fake_vocabulary("b", byte_level_definition([]))])
    assert "a cannot spell: 00-02, 09, 65, FF" in lines
    [end] = [line for line in lines if line.startswith("END of a")]
    assert "9 '\\t'" in end
    assert end.endswith(", 280")
    [row] = [row for row in cells(lines, "a ") if row[1] == "b"]
    assert float(row[4].rstrip("%")) < 60


def test_long_names_and_many_stops_fit_a_terminal() -> None:
    texts = tuple(f"<|a_rather_long_reserved_token_{i}|>" for i in range(20))
    definition = byte_level_definition([], texts)
    members = [
        read_member_vocabulary(f"organisation/model-with-a-long-name-{i}", definition, ids, 300)
        for i, ids in enumerate([range(256, 276), [256]])
    ]
    lines = report_of(members)
    assert any("…" in line for line in lines)


def test_real_members_are_reported(real_named) -> None:
    members = [real_named(n).vocabulary for n in ("falcon-65k", "phi-3-32k", "stories260K")]
    lines = report_of(members, {"phi-3-32k": True})
    assert any(line.startswith("falcon-65k cannot spell: 03-05, 0B") for line in lines)
    assert "END of phi-3-32k: 32007 '<|end|>'" in lines
