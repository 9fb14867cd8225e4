"""A copy of a tokenizer for text that models write: what belongs to prompts is taken out of it.

No dummy prefix, no BOS, no NFC, no truncation, and no way to write a control token: text that
merely looks like one stays text.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any

from tokenizers import Tokenizer

from gac.vocabulary.token_bytes import Json


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
    if part["type"] in ("NFC", "Prepend"):
        return None
    if part["type"] != "Sequence":
        return part
    kept = [_without_prompt_rules(child) for child in part["normalizers"]]
    return {**part, "normalizers": [child for child in kept if child is not None]}


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
    kept = {**token, "lstrip": False, "rstrip": False}
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


def _texts_of(merge: str | list[str]) -> tuple[str, str, str]:
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right, left + right
