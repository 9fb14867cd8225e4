"""A rank file converted: the file's bytes, and tiktoken's tokens."""

import base64
import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, pre_tokenizers

from gac.errors import VocabularyError
from gac.vocabulary.member_vocabulary import read_member_vocabulary
from gac.vocabulary.tiktoken_file import (
    PATTERN,
    RANK_FAMILIES,
    find_tiktoken_file,
    read_ranks,
    tokenizer_json_of_ranks,
)
from tests.support.examples import examples

CORPUS = (
    "the cat sat on the mat; the cats that sat there then thought the thing through. "
    "aaaa aaaaa abab ababab banana bandana 日本 日本語 日日 é éé 👍👍 1234 12345 123 \n\n  x"
)


def trained_ranks(text: str, merges: int) -> dict[bytes, int]:
    """Byte-pair encoding trained naively on the words of a text; rank = order of learning."""
    ranks = {bytes([byte]): byte for byte in range(256)}
    words = [[bytes([byte]) for byte in word.encode()] for word in re.findall(r" ?\S+|\s", text)]
    for _ in range(merges):
        counts = Counter(pair for word in words for pair in pairwise(word))
        fresh = {pair: n for pair, n in counts.items() if pair[0] + pair[1] not in ranks}
        if not fresh:
            break
        best = max(fresh, key=lambda pair: (fresh[pair], pair))
        ranks[best[0] + best[1]] = len(ranks)
        words = [rank_bpe(b"".join(word), ranks) for word in words]
    return ranks


def rank_bpe(word: bytes, ranks: dict[bytes, int]) -> list[bytes]:
    """tiktoken's rule: join the neighbours whose joined bytes rank lowest, leftmost first."""
    if word in ranks:
        return [word]
    parts = [bytes([byte]) for byte in word]
    while True:
        joins = [(ranks[a + b], i) for i, (a, b) in enumerate(pairwise(parts)) if a + b in ranks]
        if not joins:
            return parts
        _, place = min(joins)
        parts[place : place + 2] = [parts[place] + parts[place + 1]]


RANKS = trained_ranks(CORPUS, 200)
CONTROL = {len(RANKS) + 2: {"content": "<|end|>"}}
CONVERTED = tokenizer_json_of_ranks(RANKS, CONTROL)
VOCABULARY = read_member_vocabulary("m", CONVERTED, CONTROL, len(RANKS) + 5)
SPLITTER = pre_tokenizers.Split(Regex(PATTERN), behavior="isolated")


def write_ranks(path: Path, ranks: dict[bytes, int]) -> Path:
    lines = [f"{base64.b64encode(token).decode()} {rank}\n" for token, rank in ranks.items()]
    path.write_text("".join(lines))
    return path


def test_every_rank_has_the_bytes_of_the_file(tmp_path: Path) -> None:
    path = write_ranks(tmp_path / "x.tiktoken", RANKS)
    assert read_ranks(path) == RANKS
    assert len(RANKS) > 320
    for line in path.read_text().splitlines():
        encoded, rank = line.split()
        assert VOCABULARY.token_bytes[int(rank)] == base64.b64decode(encoded)


@examples(300)
@given(st.one_of(st.text("thecast nbd日本é👍123\n ", max_size=40), st.text(max_size=20)))
def test_tokens_equal_a_naive_rank_bpe(text: str) -> None:
    words = [word for word, _ in SPLITTER.pre_tokenize_str(text)]
    expected = [RANKS[part] for word in words for part in rank_bpe(word.encode(), RANKS)]
    assert VOCABULARY.encoder.encode(text.encode()) == expected
    tokenizer = Tokenizer.from_str(CONVERTED)
    assert tokenizer.encode(text).ids == expected
    assert tokenizer.decode(expected) == text


def test_added_tokens_keep_their_ids_and_gaps_are_reserved() -> None:
    tokenizer = Tokenizer.from_str(CONVERTED)
    first = len(RANKS)
    assert tokenizer.encode("a<|end|>").ids == [ord("a"), first + 2]
    assert VOCABULARY.control_texts == {
        first: f"<|reserved_token_{first}|>",
        first + 1: f"<|reserved_token_{first + 1}|>",
        first + 2: "<|end|>",
    }
    assert VOCABULARY.stop_ids == {first + 2}
    assert VOCABULARY.masked_ids == {first, first + 1, first + 3, first + 4}


def test_added_tokens_keep_their_flags() -> None:
    token = {"content": "<x>", "special": False, "lstrip": True, "__type": "AddedToken"}
    definition = json.loads(tokenizer_json_of_ranks({b"a": 0}, {1: token}))
    [added] = definition["added_tokens"]
    assert (added["id"], added["special"], added["lstrip"], added["rstrip"]) == (
        1,
        False,
        True,
        False,
    )


@pytest.mark.parametrize("name", ["qwen.tiktoken", "tiktoken.model", "tokenizer.model"])
def test_a_folder_with_only_a_rank_file_is_found(tmp_path: Path, name: str) -> None:
    assert find_tiktoken_file(tmp_path) is None
    path = write_ranks(tmp_path / name, RANKS)
    assert find_tiktoken_file(tmp_path) == path
    (tmp_path / "tokenizer.json").write_text("{}")
    assert find_tiktoken_file(tmp_path) is None


def test_a_sentencepiece_model_is_no_rank_file(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(b"\n\x0e\n\x05<unk>\x15\x00\x00\x00\x00\x18\x02\n")
    assert find_tiktoken_file(tmp_path) is None


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.tiktoken"
    path.write_bytes(b"YQ== 0\n\nnot base64! 1\n")
    with pytest.raises(VocabularyError, match=r"x.tiktoken, line 3: not a base64 token"):
        read_ranks(path)


@pytest.mark.parametrize(
    ("names", "text", "words"),
    [
        (("QWenTokenizer", "qwen"), "a1234 b", ["a", "1", "2", "3", "4", " b"]),
        (("llama", "dbrx", "phi3small", "Phi3SmallTokenizer"), "a1234 b", ["a", "123", "4", " b"]),
        (("kimi_k2", "TikTokenTokenizer"), "a日本's12345", ["a", "日本", "'s", "123", "45"]),
        (("kimi_k2",), "HelloWorld it's", ["Hello", "World", " it's"]),
    ],
)
def test_families_split_as_their_own_code_does(names, text: str, words: list[str]) -> None:
    for name in names:
        splitter = pre_tokenizers.Split(Regex(RANK_FAMILIES[name].pattern), behavior="isolated")
        assert [word for word, _ in splitter.pre_tokenize_str(text)] == words


def test_bos_stands_in_front_of_prompts() -> None:
    bos = len(RANKS)
    converted = tokenizer_json_of_ranks(RANKS, {bos: {"content": "<s>"}}, PATTERN, bos)
    tokenizer = Tokenizer.from_str(converted)
    assert tokenizer.encode("a").ids == [bos, ord("a")]
    assert tokenizer.encode("a", add_special_tokens=False).ids == [ord("a")]
