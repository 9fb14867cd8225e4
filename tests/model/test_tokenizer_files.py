"""Folders as people have them: what loads, what is warned of, and one clear line for the rest."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sentencepiece

from gac.errors import MemberError, RequestError
from gac.model.templates import load_member_tokenizer
from tests.support.fakes import byte_level_definition, unigram_definition

WORDS = ["user", "assistant", "Hello", "Paris", "the", " the", "\n"]
BYTE_LEVEL = byte_level_definition(WORDS, ("<s>", "</s>"))
UNIGRAM = unigram_definition(WORDS, ("<s>", "</s>"))
LINES = ["the cat sat on the mat", "hello world, how are you today?", "a dog ran over the hills"]
TOKENS = [*(bytes([byte]) for byte in range(256)), b"12", b"123", b"he", b"hel", b" h"]
TEMPLATE = "{% for m in messages %}{{ '<s>' + m.content + '</s>' }}{% endfor %}"

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes files into a model's folder: text as it is, all else as JSON."""

    def write_files(**files: Any) -> Path:
        config = {"model_type": "llama", "vocab_size": 400, "eos_token_id": 2}
        for stem, content in {"config": config, **files}.items():
            text = content if isinstance(content, str) else json.dumps(content)
            (tmp_path / f"{stem}.json").write_text(text)
        return tmp_path

    return write_files


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("gac")]


def refusal(folder: Path) -> str:
    with pytest.raises(MemberError) as caught:
        load_member_tokenizer("ada", str(folder))
    assert caught.value.message.startswith("member 'ada': ")
    assert "\n" not in caught.value.message
    return caught.value.message


def test_a_folder_with_only_a_sentencepiece_model_loads(
    write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write(tokenizer_config={"tokenizer_class": "LlamaTokenizer"})
    trained = train_sentencepiece(folder, "bpe")
    member = load_member_tokenizer("m", str(folder))
    for text in ("the cat", "hello the hills", "naïve 日本"):
        ids = member.prompts.encode_text(text)
        assert [i for i in ids if i > 2] == trained.encode(text)
        assert member.vocabulary.spell(ids) == f" {text}".encode()
    assert not warnings_of(caplog)


def test_a_sentencepiece_model_that_transformers_reads_otherwise_is_warned_of(
    write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write()  # no tokenizer_class: the dummy prefix is left out
    train_sentencepiece(folder, "unigram")
    load_member_tokenizer("m", str(folder))
    [warning] = warnings_of(caplog)
    assert "ANOTHER TOKENIZER than " in warning and "tokenizer.model holds" in warning


def train_sentencepiece(folder: Path, kind: str) -> sentencepiece.SentencePieceProcessor:
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES * 20),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=310,
        model_type=kind,
        byte_fallback=True,
        hard_vocab_limit=False,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        minloglevel=2,
    )
    (folder / "tokenizer.vocab").unlink()
    return sentencepiece.SentencePieceProcessor(str(folder / "tokenizer.model"))


def test_a_damaged_sentencepiece_model_is_one_clear_line(write: Write) -> None:
    folder = write(tokenizer_config={"tokenizer_class": "LlamaTokenizer"})
    (folder / "tokenizer.model").write_bytes(b"\n\x0e\n\x05<unk>\x15\x00\x00")
    message = refusal(folder)
    assert "tiktoken" not in message
    assert f"{folder / 'tokenizer.model'} is not a SentencePiece model" in message


def write_ranks(folder: Path) -> None:
    lines = [f"{base64.b64encode(token).decode()} {i}" for i, token in enumerate(TOKENS)]
    (folder / "x.tiktoken").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("config", "model", "text", "expected"),
    [
        ({"tokenizer_class": "QWenTokenizer"}, {}, "123", [49, 50, 51]),
        ({}, {"bos_token_id": 261}, "123", [261, 257]),
        ({"bos_token": "<s>"}, {"bos_token_id": 261}, "123", [261, 257]),
        ({"add_bos_token": False}, {"bos_token_id": 261}, "123", [257]),
        ({"pat_str": "\\d\\d|.", "add_bos_token": False}, {}, "123", [256, 51]),
        (
            {
                "tokenizer_class": "Other",
                "add_bos_token": True,
                "bos_token": {"__type": "AddedToken", "content": "<s>", "special": True},
                "added_tokens_decoder": {"262": {"content": "<s>", "special": True}},
                "pat_str": ".",
            },
            {"model_type": "mistral"},
            "12",
            [262, 49, 50],
        ),
    ],
)
def test_bos_and_split_of_a_rank_file_come_from_the_configuration(
    write: Write, config: Any, model: Any, text: str, expected: list[int], caplog
) -> None:
    base = {"model_type": "llama", "vocab_size": 400, "eos_token_id": 300}
    folder = write(config={**base, **model}, tokenizer_config=config)
    write_ranks(folder)
    member = load_member_tokenizer("m", str(folder))
    assert member.prompts.encode_text(text) == expected
    assert not warnings_of(caplog)


def test_what_is_assumed_of_a_rank_file_is_said(
    write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    config = {"model_type": "mistral", "vocab_size": 400, "eos_token_id": 300, "bos_token_id": 261}
    write_ranks(folder := write(config=config))
    assert load_member_tokenizer("m", str(folder)).prompts.encode_text("123") == [257]
    [warning] = warnings_of(caplog)
    assert "assumed: the pattern of cl100k and Llama 3, no BOS" in warning
    assert "mistral" in warning and str(folder / "x.tiktoken") in warning


def test_a_tokenizer_that_transformers_rebuilds_otherwise_is_warned_of(
    write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    definition = json.loads(BYTE_LEVEL)
    definition["pre_tokenizer"]["use_regex"] = False
    fitting = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>"}
    config = {"model_type": "llama", "vocab_size": 400, "eos_token_id": 300}
    folder = write(tokenizer=definition, tokenizer_config=fitting, config=config)
    load_member_tokenizer("m", str(folder))
    assert not warnings_of(caplog)
    write(tokenizer_config={**fitting, "tokenizer_class": "Qwen2Tokenizer"}, config=config)
    load_member_tokenizer("m", str(folder))
    [warning] = warnings_of(caplog)
    assert "ANOTHER TOKENIZER" in warning
    assert "tokenizer_class" in warning and str(folder / "tokenizer.json") in warning


@pytest.mark.parametrize(
    "stem", ["config", "tokenizer_config", "generation_config", "tokenizer", "special_tokens_map"]
)
@pytest.mark.parametrize("text", ['{"a": 1,\n"b" 2}', "[1]"])
def test_damaged_json_is_named(write: Write, stem: str, text: str) -> None:
    files = {"tokenizer": BYTE_LEVEL, "tokenizer_config": {}, stem: text}
    folder = write(**files)
    message = refusal(folder)
    reason = "is not valid JSON: Expecting ':' delimiter (line 2, column 5)"
    reason = "is not a JSON object" if text == "[1]" else reason
    assert f"{folder / stem}.json {reason}" in message


@pytest.mark.parametrize("size", [None, 0, "many"])
def test_a_model_without_a_size_of_its_vocabulary_is_one_clear_line(write: Write, size) -> None:
    config = {"model_type": "llama", "vocab_size": size, "eos_token_id": 2}
    assert "vocab_size" in refusal(write(tokenizer=BYTE_LEVEL, config=config))


def test_a_model_without_an_end_is_warned_of(
    write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    config = {"model_type": "llama", "vocab_size": 400, "eos_token_id": None}
    folder = write(tokenizer=BYTE_LEVEL, config=config)
    load_member_tokenizer("ada", str(folder))
    [warning] = warnings_of(caplog)
    assert "member ada: NOTHING ENDS ITS TEXTS" in warning
    assert f"eos_token_id in {folder}/generation_config.json" in warning


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        ("{{ 1 / 0 }}", "ZeroDivisionError: division by zero"),
        ("{{ 10 ** 400 * 1.0 }}", "OverflowError: "),
        ("{{ ''.__class__.__mro__ }}", "access to attribute '__class__'"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "RecursionError: "),
        ("{{ messages.append(1) }}", "access to attribute|cannot be called|unsafe"),
        ("{{ 'x' | no_such_filter }}", "No filter named 'no_such_filter'"),
    ],
)
def test_a_template_that_fails_is_a_clear_error_of_the_request(
    write: Write, failure: str, reason: str
) -> None:
    folder = write(tokenizer=BYTE_LEVEL, tokenizer_config={"chat_template": TEMPLATE + failure})
    member = load_member_tokenizer("ada", str(folder))
    assert not member.leads
    with pytest.raises(RequestError, match=f"(?s)template of member 'ada' refuses .*{reason}") as e:
        member.prompt([{"role": "user", "content": "x"}], True)
    assert e.value.param == "messages_list"
    assert "\n" not in e.value.message


@pytest.mark.parametrize("own", [None, "{{ raise_exception('own') }}"])
def test_a_template_may_be_given(write: Write, own: str | None) -> None:
    folder = write(tokenizer=UNIGRAM, tokenizer_config={"chat_template": own})
    given = folder / "given.jinja"
    given.write_text(TEMPLATE)
    member = load_member_tokenizer("ada", str(folder), chat_template=str(given))
    assert member.has_template
    ids = member.prompt([{"role": "user", "content": "Hello"}], True).ids
    assert ids == tuple(member.prompts.encode_rendered("<s>Hello</s>"))
    # What it writes counts as if it were the tokenizer's own.
    assert member.hf_tokenizer.convert_tokens_to_ids("</s>") in member.vocabulary.stop_ids


def test_a_given_template_that_is_none_is_refused(write: Write) -> None:
    folder = write(tokenizer=UNIGRAM)
    given = folder / "given.jinja"
    given.write_text("{% for m in messages %}\n{{ m.content }")
    with pytest.raises(MemberError, match=rf"'ada': chat_template {given}, line 2: "):
        load_member_tokenizer("ada", str(folder), chat_template=str(given))
    with pytest.raises(MemberError, match="'ada': chat_template .*nowhere cannot be read"):
        load_member_tokenizer("ada", str(folder), chat_template=str(folder / "nowhere"))
