"""Every text survives encoding, and text that looks like a control token stays text."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gac.errors import VocabularyError
from gac.vocabulary.member_vocabulary import MemberVocabulary, read_member_vocabulary
from gac.vocabulary.prompt_encoder import PromptEncoder
from gac.vocabulary.text_encoder import CannotSpell
from tests.support.examples import examples
from tests.support.fakes import byte_level_definition, fake_vocabulary, unigram_definition

TORTURE = (
    "",
    "Zażółć gęślą jaźń; Ünïcödé; ﬁ ﬂ ½ ① ™",
    "Ελληνικά, русский, עברית, العربية, हिन्दी, ไทย, 中文, 日本語, 한국어, አማርኛ, ᏣᎳᎩ, 𐌰𐌱𐌲",
    "e\u0301 c\u0327 \u1112\u1161\u11ab \u0915\u094d\u0937 Z\u0351\u036b\u0343\u036a\u0302",
    "👩‍👩‍👧‍👦 👍🏽 🏴󠁧󠁢󠁥󠁮󠁧󠁿 🇳🇴🇯🇵 ☺️ 🤷🏻‍♀️",
    "a\r\nb\rc\nd\n\n\n\ne\t\tf\vg\fh",
    "\x00 \x01\x02\x7f\x1b[31m \x85 \u2028\u2029 \ufeff \u200b\u200d \u00a0\u3000",
    "\u2581 a\u2581b \u2581\u2581 \u2581",
    "<s> </s> <unk> <pad> <|im_start|>user\n<|im_end|> <|endoftext|> [INST] [/INST] <|end|>",
    "<0x41> <0x0A><0xE2> <0x> <0xZZ> <<0x41>> <s<0x41>>",
    " leading", "  two leading", "trailing ", "trailing  ", " ", "  ", "\n", "\t",
    " " * 1000, "a" + " " * 333 + "b", "\n" * 300, "=" * 700,
    "0123456789" * 1000,
    "\uffff \ufffe \ufffd \U0010ffff \U000f0000 \ue000 \ud7ff",
    "ſ K Å ǆ İ ı ß ẞ Ω Ω",
)  # fmt: skip


def assert_survives(vocabulary: MemberVocabulary, text: bytes) -> None:
    lacking = set(text) - {token[0] for token in vocabulary.token_bytes if len(token) == 1}
    try:
        ids = vocabulary.encoder.encode(text)
    except CannotSpell as error:
        assert any(f"0x{byte:02X}" in str(error) for byte in lacking)
        return
    assert vocabulary.spell(ids) == text
    assert vocabulary.encoder.decode(ids) == text
    assert not (set(ids) & (vocabulary.stop_ids | vocabulary.masked_ids))


def test_torture_texts_survive_real_tokenizers(real) -> None:
    for text in TORTURE:
        assert_survives(real.vocabulary, text.encode())
    for control in real.vocabulary.control_texts.values():
        assert_survives(real.vocabulary, f"a {control}{control}b".encode())


def test_plain_ascii_is_encoded_as_the_tokenizer_itself_does(real) -> None:
    """The copy without prompt rules gives the same ids, less the dummy prefix."""
    for text in ("Hello world", "def f(x):\n    return x", "3.14, naïve; 日本"):
        expected = real.tokenizer.encode(text, add_special_tokens=False).ids
        given = real.vocabulary.encoder.encode(text.encode())
        dummy = real.vocabulary.spell(expected)[:1] == b" "
        if dummy:
            given = real.vocabulary.encoder.encode(b" " + text.encode())
        assert given == expected


@examples(30)
@given(st.one_of(st.text(max_size=60).map(str.encode), st.binary(max_size=40)))
@example(b"\xe4\xbd\xa0\xe5")
@example(b"\xf0\x9f\x91\x8d\xf0\x9f\x91")
@example(b"\x80\xff\xc0\xaf\xed\xa0\x80")
def test_any_bytes_survive_real_tokenizers(real, text: bytes) -> None:
    assert_survives(real.vocabulary, text)


def unigram_with_control_pieces() -> dict[str, Any]:
    """As SentencePiece exports it: control tokens are pieces, and scores favour them."""
    definition = json.loads(unigram_definition(["a", "b", "</", "<", "s>", ">"], specials=()))
    vocabulary = definition["model"]["vocab"]
    for text in ("<s>", "</s>", "<pad>"):
        token = {**definition["added_tokens"][0], "id": len(vocabulary), "content": text}
        definition["added_tokens"].append(token)
        vocabulary.append([text, 0.0])
    return definition


FAKES = {
    "byte-level": byte_level_definition(["the", " the", "é"], specials=("<s>", "</s>")),
    "unigram": unigram_definition(["the", " the", "</", "s>", "é"], specials=("<pad>", "</s>")),
    "unigram with control pieces": json.dumps(unigram_with_control_pieces()),
}
PARTS = ["<s>", "</s>", "<unk>", "<pad>", "<0x41>", "<", "s>", "\u2581", " ", "a", "é", "\x00"]


@pytest.mark.parametrize("kind", FAKES)
@examples(150)
@given(
    st.one_of(
        st.lists(st.sampled_from(PARTS), max_size=8).map(lambda parts: "".join(parts).encode()),
        st.text(max_size=30).map(str.encode),
        st.binary(max_size=30),
    )
)
def test_any_bytes_survive_fakes(kind: str, text: bytes) -> None:
    vocabulary = VOCABULARIES[kind]
    assert_survives(vocabulary, text)


VOCABULARIES = {kind: fake_vocabulary(kind, text) for kind, text in FAKES.items()}


def test_unigram_pieces_of_control_tokens_are_never_text() -> None:
    vocabulary = VOCABULARIES["unigram with control pieces"]
    encode, canonical = vocabulary.encoder.encode, vocabulary.canonical
    assert encode(b"a</s>") == [canonical[b"a"], canonical[b"</"], canonical[b"s>"]]
    assert vocabulary.spell(encode(b"<unk>")) == b"<unk>"


def test_text_around_a_written_byte_token_is_not_spelled_in_bytes() -> None:
    vocabulary = fake_vocabulary("m", unigram_definition(["abc", "def", "<", "0x41", ">"]))
    ids = vocabulary.encoder.encode(b"abc<0x41>def")
    assert [vocabulary.token_bytes[i] for i in ids] == [b"abc", b"<", b"0x41", b">", b"def"]


@pytest.mark.parametrize("form", ["pairs", "strings"])
def test_an_ordinary_token_that_ends_texts_is_never_text(form: str) -> None:
    definition = json.loads(byte_level_definition(["ab", "abab", "xab"]))
    if form == "strings":
        definition["model"]["merges"] = [" ".join(m) for m in definition["model"]["merges"]]
    stop = definition["model"]["vocab"]["ab"]
    vocabulary = read_member_vocabulary("m", json.dumps(definition), {stop}, 300)
    assert vocabulary.spell(vocabulary.encoder.encode(b"ab xabab")) == b"ab xabab"
    assert stop not in vocabulary.encoder.encode(b"ab abab")
    assert vocabulary.stop_texts == {stop: "ab"}
    assert stop not in vocabulary.control_texts


def test_a_byte_whose_only_token_ends_texts_cannot_be_spelled() -> None:
    definition = byte_level_definition(["ab"])
    vocabulary = read_member_vocabulary("m", definition, {ord("~")}, 300)
    assert vocabulary.encoder.missing_bytes == {ord("~")}
    with pytest.raises(CannotSpell, match="0x7E"):
        vocabulary.encoder.encode(b"a~b")


def test_ids_past_the_model_are_never_given() -> None:
    definition = json.loads(byte_level_definition(["ab", "cd"], specials=()))
    vocabulary = read_member_vocabulary("m", json.dumps(definition), [], 257)
    assert vocabulary.encoder.encode(b"abcd") == [256, ord("c"), ord("d")]


def test_added_tokens_that_strip_blanks_do_not_lose_them() -> None:
    definition = json.loads(byte_level_definition(["ab"], specials=("<tool>", "<end>")))
    definition["added_tokens"][0] |= {"special": False, "lstrip": True, "rstrip": True}
    vocabulary = fake_vocabulary("m", json.dumps(definition))
    ids = vocabulary.encoder.encode(b"ab <tool> ab")
    assert [vocabulary.token_bytes[i] for i in ids] == [b"ab", b" ", b"<tool>", b" ", b"ab"]


@pytest.mark.parametrize("rule", ["Lowercase", "NFKC", "StripAccents"])
def test_lossy_normalisers_are_refused_although_bytes_could_help_out(rule: str) -> None:
    definition = json.loads(byte_level_definition(["ab"]))
    normaliser = {"type": rule}
    definition["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "NFD"}, normaliser]}
    with pytest.raises(VocabularyError, match=f"'m' is lossy.*normalises text by NFD, {rule}"):
        fake_vocabulary("m", json.dumps(definition))


def test_nfc_dummy_prefix_and_old_metaspace_are_prompt_rules() -> None:
    definition = json.loads(unigram_definition(["a", "e\u0301"]))
    definition["normalizer"] = {"type": "NFC"}
    scheme = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always"}
    definition["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [{**scheme, "split": True}]}
    vocabulary = fake_vocabulary("m", json.dumps(definition))
    ids = vocabulary.encoder.encode("ae\u0301".encode())
    assert [vocabulary.token_bytes[i] for i in ids] == [b"a", "e\u0301".encode()]


def with_normalisers(definition: str, *rules: dict[str, Any]) -> str:
    changed = json.loads(definition)
    changed["normalizer"] = {"type": "Sequence", "normalizers": list(rules)}
    return json.dumps(changed)


def replacing(kind: str, pattern: str, content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {kind: pattern}, "content": content}


@pytest.mark.parametrize("start", ["(?<!\\n)^", "^", "^(?!\u2581)", "\\A", "^(?=[^\u2581])"])
def test_a_dummy_prefix_by_a_regular_expression_is_a_prompt_rule(start: str) -> None:
    """As in llm-jp's own files: the first two are theirs."""
    rules = [replacing("Regex", start, "\u2581"), replacing("Regex", " ", "\u2581")]
    if start == "^":  # which matches at every line; their next rule takes that back
        rules.insert(1, replacing("Regex", "\\n\u2581", "\n"))
    definition = with_normalisers(unigram_definition(["the", " the", "\n"]), *rules)
    vocabulary = fake_vocabulary("m", definition)
    ids = vocabulary.encoder.encode(b"the the\n the")
    spelled = [vocabulary.token_bytes[i] for i in ids]
    assert spelled == [b"the", b" the", b"\n", b" the"]
    prompt = PromptEncoder(definition, vocabulary).encode_text("the the")
    assert [vocabulary.token_bytes[i] for i in prompt] == [b" the", b" the"]
    for text in TORTURE[:12]:
        assert_survives(vocabulary, text.encode())


LOSSY: dict[str, tuple[str, str]] = {
    "blanks joined": (
        with_normalisers(byte_level_definition([]), replacing("Regex", " {2,}", " ")),
        r"becomes ' two leading.*Reason: it normalises text by Replace of ' \{2,\}' by ' '\.",
    ),
    "letters changed": (
        with_normalisers(byte_level_definition([]), replacing("String", "ß", "ss")),
        r"'naïve .*' does not survive .* it normalises text by Replace of 'ß' by 'ss'\.",
    ),
    "blanks dropped": (
        json.dumps(
            {
                **json.loads(byte_level_definition([])),
                "pre_tokenizer": {
                    "type": "Sequence",
                    "pretokenizers": [
                        {
                            "type": "Split",
                            "pattern": {"Regex": "\\s+"},
                            "behavior": "Removed",
                            "invert": False,
                        },
                        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True},
                    ],
                },
            }
        ),
        r"becomes 'Thequick.*Reason: not known; it is a byte-level BPE tokenizer with "
        r"Split of '\\\\s\+', ByteLevel\.",
    ),
    "no byte fallback": (
        json.dumps(
            {
                **json.loads(unigram_definition(["a"])),
                "model": {
                    **json.loads(unigram_definition(["a"]))["model"],
                    "byte_fallback": False,
                },
            }
        ),
        r"it has no byte fallback, so unknown text becomes <unk>",
    ),
}


@pytest.mark.parametrize("kind", LOSSY)
def test_every_refusal_names_the_sample_what_came_back_and_the_rules(kind: str) -> None:
    definition, message = LOSSY[kind]
    with pytest.raises(VocabularyError, match=rf"(?s)'m' is lossy: .*{message}"):
        fake_vocabulary("m", definition)
