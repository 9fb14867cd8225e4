"""Copies of a tokenizer's definition: one for text that models write, one for a smaller model.

In text that models write there is no dummy prefix, no BOS, no NFC, no truncation, and no way to
write a control token: text that merely looks like one stays text.
"""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from tokenizers import Regex, Tokenizer, normalizers

from gac.errors import VocabularyError
from gac.vocabulary.added_tokens import METASPACE
from gac.vocabulary.token_bytes import Json, model_vocabulary

_TRIED = ("a", "a b", " a", "  ", "a\nb", "a\n b\n\nc", "日本 語", "1.0\t-", "")


def plain_tokenizer(definition: Json, silent: Collection[int]) -> Tokenizer:
    """A tokenizer that takes text as it stands and never gives one of the `silent` ids.

    The dummy prefix goes by removing its normaliser rather than by a sentinel in front of the text:
    Unigram is not local, a sentinel could change the tokens after it.
    """
    added = definition.get("added_tokens", [])
    changed = {
        **definition,
        "normalizer": _without_prompt_rules(definition.get("normalizer")),
        "pre_tokenizer": _without_prefix(definition.get("pre_tokenizer")),
        "model": _silenced_model(definition["model"], silent),
        "added_tokens": [_silenced_token(token, silent) for token in added],
        **dict.fromkeys(("post_processor", "truncation", "padding")),
    }
    tokenizer = Tokenizer.from_str(json.dumps(changed, ensure_ascii=False))
    tokenizer.encode_special_tokens = True
    return tokenizer


def _without_prompt_rules(part: Any) -> Any:
    if not isinstance(part, Mapping):
        return part
    if part["type"] in ("NFC", "Prepend") or _is_dummy_prefix(part):
        return None
    if part["type"] != "Sequence":
        return part
    kept = [_without_prompt_rules(child) for child in part["normalizers"]]
    return {**part, "normalizers": [child for child in kept if child is not None]}


def _is_dummy_prefix(part: Json) -> bool:
    """Whether a rule writes U+2581 in front of a text or its lines, and changes nothing else.

    llm-jp's own files have such a `Replace` of `(?<!\\n)^`.  What it does is tried out.
    """
    if part["type"] != "Replace" or part["content"] != METASPACE:
        return False
    rule = normalizers.Replace(_pattern_of(part), part["content"])
    given = [(text, rule.normalize_str(text)) for text in _TRIED]
    return any(text != changed for text, changed in given) and all(
        re.sub(f"(?m)^{METASPACE}", "", changed) == text for text, changed in given
    )


def _pattern_of(part: Json) -> Any:
    pattern = part["pattern"]
    return Regex(pattern["Regex"]) if "Regex" in pattern else pattern["String"]


def _without_prefix(part: Any) -> Any:
    if not isinstance(part, Mapping):
        return part
    if part["type"] == "Sequence":
        return {**part, "pretokenizers": [_without_prefix(p) for p in part["pretokenizers"]]}
    if part["type"] == "Metaspace":
        rest = {key: value for key, value in part.items() if key != "add_prefix_space"}
        return {**rest, "prepend_scheme": "never"}
    if part["type"] == "ByteLevel":
        return {**part, "add_prefix_space": False}
    return part


def _unwritable(token_id: int) -> str:
    """A text that no model sees: both families have turned blanks into another character."""
    return f"silent {token_id}"


def _silenced_token(token: Json, silent: Collection[int]) -> Json:
    """An added token that swallows no blanks around it, and is not read if it is silent."""
    # Those flagged special are not read at all here: see `encode_special_tokens`.
    kept = {**token, "lstrip": False, "rstrip": False, "special": False}
    if token["id"] not in silent:
        return kept
    return {**kept, "content": _unwritable(token["id"]), "special": True}


def _silenced_model(model: Json, silent: Collection[int]) -> Json:
    """The model with the silent ids' texts out of reach; Unigram would read any of them as text."""
    vocabulary = model["vocab"]
    if not isinstance(vocabulary, Mapping):
        pieces = [[_unwritable(i) if i in silent else p, s] for i, (p, s) in enumerate(vocabulary)]
        return {**model, "vocab": pieces}
    gone = {text: _unwritable(i) for text, i in vocabulary.items() if i in silent}
    if not gone:
        return model
    changed = {
        **model,
        "vocab": {gone.get(text, text): i for text, i in vocabulary.items()},
        "unk_token": gone.get(model.get("unk_token"), model.get("unk_token")),
    }
    if "merges" in model:
        changed["merges"] = [m for m in model["merges"] if gone.keys().isdisjoint(_texts_of(m))]
    return changed


def cut_definition(definition: Json, num_ids: int) -> Json:
    """The definition without the ids from `num_ids` on, whose text other tokens then spell.

    Raises: VocabularyError if the tokenizer cannot do without one of them.
    """
    if num_ids > largest_id(definition):
        return definition
    added = [token for token in definition.get("added_tokens", []) if token["id"] < num_ids]
    model = _cut_model(definition["model"], num_ids)
    return {**definition, "added_tokens": added, "model": model}


def largest_id(definition: Json) -> int:
    """The largest id that a tokenizer can give; -1 if it has none."""
    added = (token["id"] for token in definition.get("added_tokens", []))
    return max([*model_vocabulary(definition["model"]).values(), *added], default=-1)


def _cut_model(model: Json, num_ids: int) -> Json:
    vocabulary = model["vocab"]
    if not isinstance(vocabulary, Mapping):
        if (model.get("unk_id") or 0) >= num_ids:
            raise VocabularyError(
                f"its unknown token has the id {model['unk_id']}, "
                f"but the model has ids up to {num_ids - 1} only"
            )
        return {**model, "vocab": vocabulary[:num_ids]}
    kept = {text: token_id for text, token_id in vocabulary.items() if token_id < num_ids}
    unknown = model.get("unk_token")
    cut = {**model, "vocab": kept, "unk_token": unknown if unknown in kept else None}
    if "merges" in model:
        cut["merges"] = [merge for merge in model["merges"] if kept.keys() >= set(_texts_of(merge))]
    return cut


def _texts_of(merge: str | list[str]) -> tuple[str, str, str]:
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right, left + right
