import json
import logging

import pytest

from gac.errors import VocabularyError
from gac.vocabulary.member_vocabulary import read_member_vocabulary
from gac.vocabulary.prompt_encoder import PromptEncoder
from tests.support.fakes import byte_level_definition, fake_vocabulary, unigram_definition


def test_every_id_is_text_or_stop_or_masked(real) -> None:
    vocabulary = real.vocabulary
    assert len(vocabulary.token_bytes) == real.size + 5
    for token_id, token in enumerate(vocabulary.token_bytes):
        kinds = [bool(token), token_id in vocabulary.stop_ids, token_id in vocabulary.masked_ids]
        assert sum(kinds) == 1
    assert set(range(real.size, real.size + 5)) <= vocabulary.masked_ids
    assert real.special <= vocabulary.masked_ids | vocabulary.stop_ids
    assert set(vocabulary.control_texts) == real.special


def test_canonical_ids_spell_their_bytes_and_are_what_encoding_gives(real) -> None:
    vocabulary = real.vocabulary
    assert set(vocabulary.canonical) == set(filter(None, vocabulary.token_bytes))
    shared = {}
    for token_id, token in enumerate(vocabulary.token_bytes):
        shared.setdefault(token, []).append(token_id)
    for token, ids in shared.items():
        if not token:
            continue
        assert vocabulary.canonical[token] in ids
        if len(ids) > 1:
            produced = vocabulary.encoder.encode(token)
            assert len(produced) > 1 or produced == [vocabulary.canonical[token]]


def test_an_ordinary_letter_is_canonical_before_its_byte_token() -> None:
    vocabulary = fake_vocabulary("m", unigram_definition(["A"]))
    ids = [i for i, token in enumerate(vocabulary.token_bytes) if token == b"A"]
    assert len(ids) == 2
    assert vocabulary.canonical[b"A"] == max(ids)
    assert vocabulary.encoder.encode(b"A") == [max(ids)]


def test_dummy_space_is_the_lone_space() -> None:
    vocabulary = fake_vocabulary("m", unigram_definition([]))
    assert vocabulary.dummy_space is not None
    assert vocabulary.token_bytes[vocabulary.dummy_space] == b" "


def test_stop_ids_outside_the_model_are_refused() -> None:
    with pytest.raises(VocabularyError, match=r"member 'm' has stop ids \[-1, 300\]"):
        read_member_vocabulary("m", byte_level_definition([]), {300, -1, 3}, 300)


def test_a_stop_id_past_the_tokenizer_ends_texts_and_has_no_name() -> None:
    vocabulary = read_member_vocabulary("m", byte_level_definition([]), {280, 256}, 300)
    assert vocabulary.stop_ids == {256, 280}
    assert vocabulary.stop_texts == {256: "<|end|>"}


def test_an_added_token_that_ends_texts_is_a_control_token() -> None:
    definition = json.loads(byte_level_definition([]))
    definition["added_tokens"][0]["special"] = False
    ordinary = read_member_vocabulary("m", json.dumps(definition), [], 257)
    assert ordinary.encoder.encode(b"<|end|>") == [256]
    stopping = read_member_vocabulary("m", json.dumps(definition), [256], 257)
    assert stopping.control_texts == {256: "<|end|>"}
    assert 256 not in stopping.encoder.encode(b"<|end|>")


def test_missing_bytes_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    definition = json.loads(byte_level_definition([]))
    for character in "\u0100\u0101":  # bytes 0 and 1
        del definition["model"]["vocab"][character]
    with caplog.at_level(logging.WARNING):
        vocabulary = read_member_vocabulary("m", json.dumps(definition), [], 257)
    assert vocabulary.encoder.missing_bytes == {0, 1}
    assert "member m: no token spells 2 of the 256 bytes" in caplog.text


def test_falcon_lacks_28_bytes(real_named) -> None:
    assert len(real_named("falcon-65k").vocabulary.encoder.missing_bytes) == 28


def with_more_ids(definition: str, contents: list[str]) -> str:
    """A tokenizer to which somebody added tokens without making the model larger."""
    changed = json.loads(definition)
    first = max(token["id"] for token in changed["added_tokens"]) + 1
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    for place, content in enumerate(contents):
        token = {"id": first + place, "content": content, "special": place % 2 == 0, **flags}
        changed["added_tokens"].append(token)
    return json.dumps(changed)


@pytest.mark.parametrize(
    "definition",
    [byte_level_definition(["im", "the"]), unigram_definition(["im", "the", "<|"])],
    ids=["byte-level", "unigram"],
)
def test_ids_that_the_model_lacks_are_spelled_with_others(
    definition: str, caplog: pytest.LogCaptureFixture
) -> None:
    num_ids = json.loads(definition)["added_tokens"][-1]["id"] + 1
    longer = with_more_ids(definition, ["<|im|>", "<|the|>", "silent"])
    with caplog.at_level(logging.WARNING):
        vocabulary = read_member_vocabulary("m", longer, {num_ids - 1}, num_ids)
    assert f"ids up to {num_ids + 2}, its model only up to {num_ids - 1}" in caplog.text
    assert len(vocabulary.token_bytes) == num_ids
    prompts = PromptEncoder(longer, vocabulary)
    text = "the<|im|> <|the|>silent"
    for ids in (prompts.encode_text(text), prompts.encode_rendered(text)):
        assert max(ids) < num_ids
        assert vocabulary.spell(ids).lstrip(b" ") == text.encode()
    assert max(vocabulary.encoder.encode(text.encode())) < num_ids
    assert max(vocabulary.canonical.values()) < num_ids


def test_ordinary_ids_that_the_model_lacks_are_spelled_with_others() -> None:
    definition = byte_level_definition(["the", "then"], specials=())
    vocabulary = read_member_vocabulary("m", definition, [], 257)  # all bytes, and "th"
    ids = PromptEncoder(definition, vocabulary).encode_text("then")
    assert [vocabulary.token_bytes[i] for i in ids] == [b"th", b"e", b"n"]


def test_a_bos_that_the_model_lacks_is_refused() -> None:
    definition = json.loads(with_more_ids(byte_level_definition([]), ["<s>"]))
    definition["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "<s>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
        ],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [257], "tokens": ["<s>"]}},
    }
    vocabulary = read_member_vocabulary("m", json.dumps(definition), [], 257)
    with pytest.raises(
        VocabularyError, match=r"member 'm' puts the ids \[257\] around every prompt"
    ):
        PromptEncoder(json.dumps(definition), vocabulary)


def test_an_unknown_token_that_the_model_lacks_is_refused() -> None:
    definition = json.loads(unigram_definition([], specials=()))
    pieces = definition["model"]["vocab"]
    pieces.append(["<unk2>", 0.0])
    definition["model"]["unk_id"] = len(pieces) - 1
    with pytest.raises(VocabularyError, match=r"'m' is refused: its unknown token has the id 258"):
        read_member_vocabulary("m", json.dumps(definition), [], 258)
