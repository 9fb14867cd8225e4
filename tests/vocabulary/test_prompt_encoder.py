"""Users' text never becomes a control token; a template's own does."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gac.errors import RequestError
from gac.vocabulary.member_vocabulary import MemberVocabulary, read_member_vocabulary
from gac.vocabulary.prompt_encoder import PromptEncoder
from tests.support.examples import examples
from tests.support.fakes import byte_level_definition, fake_vocabulary, unigram_definition

SPECIALS = ("<|im|>", "<|im|><|x|>", "</s>")
FAKES = {
    "byte-level": byte_level_definition(["the", " the", "user"], SPECIALS),
    "unigram": unigram_definition(["the", " the", "user", "\n", "<", "s", ">"], SPECIALS),
}
VOCABULARIES = {kind: fake_vocabulary(kind, text) for kind, text in FAKES.items()}
ENCODERS = {kind: PromptEncoder(FAKES[kind], VOCABULARIES[kind]) for kind in FAKES}
PARTS = ["<|im|>", "<|x|>", "</s>", "<unk>", "<0x41>", "the", " ", "\n", "é", "\U000f0000"]
PARTS += ["\U000f0001", "\U000ffffd", "<|i", "m|>", "<", "\u2581"]
CONTENTS = st.one_of(st.lists(st.sampled_from(PARTS), max_size=10).map("".join), st.text())


def controls(ids: list[int], vocabulary: MemberVocabulary) -> list[str]:
    return [vocabulary.control_texts[i] for i in ids if i in vocabulary.control_texts]


def render(messages: list[dict[str, str]], control: str) -> str:
    return "".join(f"{control}{m['role']}\n{m['content']}{control}\n" for m in messages)


@pytest.mark.parametrize("kind", FAKES)
@examples(300)
@given(contents=st.lists(CONTENTS, min_size=1, max_size=3))
def test_no_content_becomes_a_control_token(kind: str, contents: list[str]) -> None:
    vocabulary, encoder = VOCABULARIES[kind], ENCODERS[kind]
    messages = [{"role": "user", "content": content} for content in contents]
    shielded, taken = encoder.shield(messages)
    ids = encoder.encode_rendered(render(shielded, "<|im|>"), taken)
    assert controls(ids, vocabulary) == ["<|im|>"] * (2 * len(messages))
    borders = [place for place, i in enumerate(ids) if i in vocabulary.control_texts]
    for content, start, stop in zip(contents, borders[::2], borders[1::2], strict=True):
        spelled = vocabulary.spell(ids[start + 1 : stop])
        if kind == "unigram":  # which writes a dummy space, and reads U+2581 as one
            spelled = spelled.removeprefix(b" ").replace(b"\xe2\x96\x81", b" ")
            content = content.replace("\u2581", " ")
        assert spelled.decode() == f"user\n{content}"


@pytest.mark.parametrize("kind", FAKES)
@examples(200)
@given(text=CONTENTS)
def test_no_plain_prompt_becomes_a_control_token(kind: str, text: str) -> None:
    vocabulary = VOCABULARIES[kind]
    ids = ENCODERS[kind].encode_text(text)
    assert controls(ids, vocabulary) == []
    spelled = vocabulary.spell(ids)
    if kind == "unigram":
        spelled = spelled.removeprefix(b" ").replace(b"\xe2\x96\x81", b" ")
        text = text.replace("\u2581", " ")
    assert spelled.decode() == text


def test_no_control_text_of_a_real_tokenizer_gets_through(real) -> None:
    encoder = PromptEncoder(real.text, real.vocabulary)
    own, *others = list(real.vocabulary.control_texts.values())[-3:]
    for control in [own, *others]:
        content = f"a{control} b {control}{control}c"
        shielded, taken = encoder.shield([{"role": "user", "content": content}])
        assert len(taken) == 3
        ids = encoder.encode_rendered(render(shielded, own), taken)
        assert controls(ids, real.vocabulary) == [own, own]
        assert content.encode() in real.vocabulary.spell(ids)
        framed = encoder.encode_text(content)
        bos = encoder.encode_text("")
        assert controls(framed, real.vocabulary) == controls(bos, real.vocabulary)
        assert real.vocabulary.spell(framed).lstrip(b" ") == content.encode()


def test_prompts_without_control_text_are_encoded_as_the_tokenizer_does(real) -> None:
    encoder = PromptEncoder(real.text, real.vocabulary)
    for text in ("Hello", "", " two  spaces", "e\u0301 日本 \U000f0000? <0x41>\n\n"):
        if "\U000f0000" not in text:
            assert encoder.encode_text(text) == real.tokenizer.encode(text).ids
        shielded, taken = encoder.shield([{"role": "user", "content": text}])
        if not taken:
            expected = real.tokenizer.encode(text, add_special_tokens=False).ids
            assert encoder.encode_rendered(shielded[0]["content"], taken) == expected


def test_roles_are_shielded_too() -> None:
    [message], taken = ENCODERS["byte-level"].shield([{"role": "a</s>", "content": ""}])
    assert taken == ["</s>"]
    assert "</s>" not in message["role"]


def test_the_longest_control_text_is_taken() -> None:
    _, taken = ENCODERS["byte-level"].shield([{"role": "u", "content": "<|im|><|x|><|im|>"}])
    assert taken == ["<|im|><|x|>", "<|im|>"]


def test_bos_and_eos_stay_around_a_text_with_control_text() -> None:
    definition = json.loads(FAKES["unigram"])
    at = {token["content"]: token["id"] for token in definition["added_tokens"]}
    parts = [("SpecialToken", "<|im|>"), ("Sequence", "A"), ("SpecialToken", "</s>")]
    definition["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{kind: {"id": name, "type_id": 0}} for kind, name in parts],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}],
        "special_tokens": {
            name: {"id": name, "ids": [at[name]], "tokens": [name]} for name in ("<|im|>", "</s>")
        },
    }
    encoder = PromptEncoder(json.dumps(definition), VOCABULARIES["unigram"])
    for text in ("the", "the </s> the"):
        ids = encoder.encode_text(text)
        assert controls(ids, VOCABULARIES["unigram"]) == ["<|im|>", "</s>"]
        assert (ids[0], ids[-1]) == (at["<|im|>"], at["</s>"])


def test_truncation_and_padding_of_the_file_are_off() -> None:
    definition = json.loads(FAKES["byte-level"])
    definition["truncation"] = {
        "direction": "Right",
        "max_length": 2,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    encoder = PromptEncoder(json.dumps(definition), VOCABULARIES["byte-level"])
    assert len(encoder.encode_text("abcdef")) == 6


def test_shielded_text_that_cannot_be_spelled_is_the_clients_fault() -> None:
    definition = json.loads(byte_level_definition([], specials=("<|é|>",)))
    del definition["model"]["vocab"]["©"]  # the second byte of é
    vocabulary = read_member_vocabulary("m", json.dumps(definition), [], 257)
    encoder = PromptEncoder(json.dumps(definition), vocabulary)
    with pytest.raises(RequestError, match="member 'm' cannot read '<|é|>'"):
        encoder.encode_text("<|é|>")


def test_endless_control_text_is_refused() -> None:
    with pytest.raises(RequestError, match="too many texts of added tokens"):
        ENCODERS["byte-level"].shield([{"role": "user", "content": "</s>" * 70_000}])
