"""Token bytes against what the tokenizers themselves decode."""

import json

import pytest
from transformers.convert_slow_tokenizer import bytes_to_unicode

from gac.errors import VocabularyError
from gac.vocabulary.member_vocabulary import read_member_vocabulary
from gac.vocabulary.token_bytes import (
    Family,
    family_of,
    gpt2_byte_of_character,
    read_token_table,
)
from tests.support.fakes import byte_level_definition, unigram_definition

REPLACED = "\ufffd"


def test_every_ordinary_token_of_a_real_tokenizer_has_its_true_bytes(real) -> None:
    """First oracle: decode([anchor, id]) less decode([anchor]), wherever that is whole UTF-8.

    Second, for the rest: another implementation's GPT-2 table, or the hexadecimal digits.
    """
    tokenizer, table = real.tokenizer, read_token_table(json.loads(real.text))
    anchor = real.vocabulary.canonical[b"a"]
    ordinary = [i for i in range(real.size) if i not in real.special]
    before = tokenizer.decode([anchor], skip_special_tokens=False)
    pairs = [[anchor, i] for i in ordinary]
    decoded = tokenizer.decode_batch(pairs, skip_special_tokens=False)
    byte_of = {character: byte for byte, character in bytes_to_unicode().items()}
    partial = []
    for token_id, text in zip(ordinary, decoded, strict=True):
        assert text.startswith(before)
        if REPLACED not in text:
            assert table.token_bytes[token_id] == text[len(before) :].encode(), token_id
            continue
        partial.append(token_id)
        spelled = tokenizer.id_to_token(token_id)
        if table.family is Family.BYTE_LEVEL:
            expected = bytes(byte_of[character] for character in spelled)
        else:
            expected = bytes.fromhex(spelled[3:5]) if len(spelled) == 6 else spelled.encode()
        assert table.token_bytes[token_id] == expected, token_id
    parts = [i for i in partial if not _is_whole(table.token_bytes[i])]
    assert len(parts) <= 0.05 * len(ordinary) + 128
    assert all(REPLACED.encode() in table.token_bytes[i] for i in set(partial) - set(parts))
    if table.family is Family.METASPACE:
        assert len(parts) == 128  # <0x80> to <0xFF>


def _is_whole(token: bytes) -> bool:
    try:
        return bool(token.decode())
    except UnicodeDecodeError:
        return False


def test_the_lossy_tokenizer_is_refused_with_its_reasons(shared_text) -> None:
    with pytest.raises(VocabularyError) as refusal:
        read_member_vocabulary("albert", shared_text("albert-unigram-30k"), {3}, 30_000)
    message = str(refusal.value)
    assert "'albert'" in message
    assert "is lossy" in message
    assert "Precompiled" in message
    assert "no byte fallback" in message


def test_the_byte_table_is_the_published_one() -> None:
    assert gpt2_byte_of_character() == {c: byte for byte, c in bytes_to_unicode().items()}


@pytest.mark.parametrize("kind", ["WordPiece", "WordLevel"])
def test_families_without_bytes_are_refused(kind: str) -> None:
    definition = {"model": {"type": kind, "vocab": {"a": 0}}, "decoder": {"type": kind}}
    with pytest.raises(VocabularyError, match=f"member 'm' is refused: a {kind} tokenizer"):
        read_member_vocabulary("m", json.dumps(definition), [], 1)


@pytest.mark.parametrize(
    ("place", "part"),
    [
        ("decoder", {"type": "ByteLevel"}),
        ("pre_tokenizer", {"type": "Sequence", "pretokenizers": [{"type": "ByteLevel"}]}),
        ("normalizer", {"type": "Sequence", "normalizers": [{"type": "ByteLevel"}]}),
    ],
)
def test_byte_level_is_read_from_any_of_three_places(place: str, part: object) -> None:
    assert family_of({"model": {"type": "BPE"}, place: part}) is Family.BYTE_LEVEL


@pytest.mark.parametrize(
    ("place", "part"),
    [
        ("pre_tokenizer", {"type": "Metaspace"}),
        ("decoder", {"type": "Sequence", "decoders": [{"type": "Metaspace"}]}),
        ("normalizer", {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}),
    ],
)
def test_metaspace_is_read_from_any_of_three_places(place: str, part: object) -> None:
    assert family_of({"model": {"type": "BPE"}, place: part}) is Family.METASPACE


def test_added_tokens_of_a_metaspace_tokenizer_write_spaces_like_pieces() -> None:
    """Gemma lists its runs of spaces once more, as ordinary added tokens."""
    definition = json.loads(unigram_definition(["\u2581\u2581\u2581", "a"]))
    pieces = [piece for piece, _ in definition["model"]["vocab"]]
    place = pieces.index("\u2581\u2581\u2581")
    token = {**definition["added_tokens"][0], "id": place, "content": pieces[place]}
    definition["added_tokens"].append({**token, "special": False})
    assert read_token_table(definition).token_bytes[place] == b"   "


def test_only_two_hexadecimal_digits_are_a_byte() -> None:
    table = read_token_table(json.loads(unigram_definition(["<0x+4>", "<0x4>", "<0x041>"])))
    tokens = table.token_bytes
    assert {b"<0x+4>", b"<0x4>", b"<0x041>"} <= set(tokens)
    assert len(table.fallback) == 256
    assert all(tokens[i] == bytes([byte]) for byte, i in enumerate(sorted(table.fallback)))


def test_without_byte_fallback_such_a_piece_is_text() -> None:
    definition = json.loads(unigram_definition(["a"]))
    definition["model"]["byte_fallback"] = False
    table = read_token_table(definition)
    assert not table.fallback
    assert b"<0x41>" in table.token_bytes


def test_control_tokens_are_the_special_ones_and_unk() -> None:
    definition = json.loads(byte_level_definition(["ab"], specials=("<|a|>", "<|b|>")))
    definition["added_tokens"][0]["special"] = False
    table = read_token_table(definition)
    assert table.special == {258}
    assert table.added == {257: "<|a|>", 258: "<|b|>"}
    definition["model"]["unk_token"] = "ab"
    assert read_token_table(definition).special == {256, 258}
    assert 0 in read_token_table(json.loads(unigram_definition(["a"]))).special
