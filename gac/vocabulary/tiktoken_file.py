"""A tiktoken rank file (a base64 token and its rank per line) as a byte-level `tokenizer.json`.

Rank files hold no merges, no control tokens, no splitting pattern and no rule for BOS.  The merges
follow from the ranks, the rest is given.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gac.errors import VocabularyError
from gac.vocabulary.token_bytes import Json, gpt2_byte_of_character

PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Source: `TikTokenConverter` in transformers 5.23, the pattern of cl100k and Llama 3."""
_ONE_DIGIT = PATTERN.replace(r"\p{N}{1,3}", r"\p{N}")
"""Source: Qwen 1's `tokenization_qwen.py`."""
_UPPER, _LOWER = (
    r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]",
    r"\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]",
)
_HAN_APART = (
    rf"[\p{{Han}}]+|[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}]*[{_LOWER}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    rf"|[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}]+[{_LOWER}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Source: Kimi K2's `tokenization_kimi.py`."""


@dataclass(frozen=True)
class RankFamily:
    """How models of one family split text, and whether their prompts start with BOS."""

    pattern: str
    adds_bos: bool


RANK_FAMILIES: Mapping[str, RankFamily] = {
    "QWenTokenizer": RankFamily(_ONE_DIGIT, False),
    "qwen": RankFamily(_ONE_DIGIT, False),
    "llama": RankFamily(PATTERN, True),
    "TikTokenTokenizer": RankFamily(_HAN_APART, False),
    "kimi_k2": RankFamily(_HAN_APART, False),
    "Phi3SmallTokenizer": RankFamily(PATTERN, False),
    "phi3small": RankFamily(PATTERN, False),
    "dbrx": RankFamily(PATTERN, False),
}
"""By `tokenizer_class` or `model_type`, those that are published with a rank file."""


def find_tiktoken_file(folder: Path) -> Path | None:
    """The rank file of a model's folder that has no `tokenizer.json`, if there is one."""
    if (folder / "tokenizer.json").exists():
        return None
    named = sorted(folder.glob("*.tiktoken"))
    candidates = [*named, folder / "tiktoken.model", folder / "tokenizer.model"]
    return next((path for path in candidates if path.is_file() and _is_rank_file(path)), None)


def _is_rank_file(path: Path) -> bool:
    with path.open("rb") as lines:
        try:
            _read_line(lines.readline())
        except ValueError:
            return False
    return True


def read_ranks(path: Path) -> dict[bytes, int]:
    """Token -> rank.

    Raises: VocabularyError for a line that is not a base64 token and a rank.
    """
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            token, rank = _read_line(line)
        except ValueError as error:
            raise VocabularyError(f"{path}, line {number}: {error}") from error
        ranks[token] = rank
    return ranks


def _read_line(line: bytes) -> tuple[bytes, int]:
    fields = line.split()
    try:
        encoded, rank = fields
        return base64.b64decode(encoded, validate=True), int(rank)
    except (binascii.Error, ValueError) as error:
        raise ValueError("not a base64 token and its rank") from error


def tokenizer_json_of_ranks(
    ranks: Mapping[bytes, int],
    added: Mapping[int, Json],
    pattern: str = PATTERN,
    bos: int | None = None,
) -> str:
    """A byte-level BPE `tokenizer.json` whose ids are the ranks.

    `added` maps ids to added tokens as a `tokenizer_config.json` lists them; ids that neither
    names become reserved control tokens.  `bos` is put in front of prompts.
    """
    characters = {byte: character for character, byte in gpt2_byte_of_character().items()}

    def spell(token: bytes) -> str:
        return "".join(map(characters.__getitem__, token))

    model = {
        "type": "BPE",
        "ignore_merges": True,
        "vocab": {spell(token): rank for token, rank in ranks.items()},
        "merges": [[spell(left), spell(right)] for left, right in _merges(ranks)],
    }
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    split = {"type": "Split", "behavior": "Isolated", "invert": False}
    splits = [{**split, "pattern": {"Regex": pattern}}, {**level, "use_regex": False}]
    unnamed = range(max(ranks.values()) + 1, max(added, default=-1) + 1)
    reserved = {i: {"content": f"<|reserved_token_{i}|>"} for i in unnamed}
    definition = {
        "version": "1.0",
        "added_tokens": [_added(i, t) for i, t in sorted({**reserved, **added}.items())],
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": splits},
        "post_processor": None if bos is None else _bos_first(bos, added[bos]["content"]),
        "decoder": {**level, "use_regex": True},
        "model": model,
    }
    return json.dumps(definition, ensure_ascii=False)


def _bos_first(bos: int, text: str) -> Json:
    first = {"SpecialToken": {"id": text, "type_id": 0}}
    whole = {"Sequence": {"id": "A", "type_id": 0}}
    return {
        "type": "TemplateProcessing",
        "single": [first, whole],
        "pair": [first, whole, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {text: {"id": text, "ids": [bos], "tokens": [text]}},
    }


def _added(token_id: int, token: Json) -> Json:
    flags = ("single_word", "lstrip", "rstrip", "normalized")
    return {
        "id": token_id,
        "content": token["content"],
        "special": token.get("special", True),
        **{flag: token.get(flag, False) for flag in flags},
    }


def _merges(ranks: Mapping[bytes, int]) -> list[tuple[bytes, bytes]]:
    """Every pair of tokens that joins to a token, in the order of that token's rank.

    tiktoken merges the neighbours whose joined bytes have the lowest rank, however they are cut.
    """
    merges = []
    for token in sorted(ranks, key=ranks.__getitem__):
        cuts = ((token[:cut], token[cut:]) for cut in range(1, len(token)))
        pairs = [(left, right) for left, right in cuts if left in ranks and right in ranks]
        merges += sorted(pairs, key=lambda pair: (ranks[pair[0]], ranks[pair[1]]))
    return merges
