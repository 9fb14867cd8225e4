"""A model's folder with a tiktoken rank file only, read as a tokenizer of `transformers`.

A rank file says neither how text is split before merging nor whether prompts start with BOS.  Both
are taken from the model's configuration, else from what is known of its family.
"""

import json
import logging
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from gac.vocabulary.tiktoken_file import (
    PATTERN,
    RANK_FAMILIES,
    read_ranks,
    tokenizer_json_of_ranks,
)

logger = logging.getLogger(__name__)

Json = Mapping[str, Any]


def read_rank_tokenizer(name: str, folder: Path, rank_file: Path) -> Any:
    """The tokenizer of a rank file; logs in one line what had to be assumed.

    `pat_str` (or `pattern`), `bos_token` and `add_bos_token` of tokenizer_config.json come first.
    Raises: VocabularyError for a damaged file.
    """
    config, model_config = _read(folder, "tokenizer_config.json"), _read(folder, "config.json")
    names = str(config.get("tokenizer_class")), str(model_config.get("model_type"))
    family = next((RANK_FAMILIES[n] for n in names if n in RANK_FAMILIES), None)
    added = {int(i): token for i, token in config.get("added_tokens_decoder", {}).items()}
    pattern = config.get("pat_str") or config.get("pattern")
    adds_bos = config.get("add_bos_token")
    if family is None and (pattern is None or adds_bos is None):
        logger.warning(
            "member %s: %s says neither how to split text nor whether prompts start with BOS, and "
            "the family of %s is not known; assumed: %s, %s. tokenizer_config.json may set "
            "pat_str, bos_token and add_bos_token",
            *(name, rank_file, " / ".join(names)),
            "its pat_str" if pattern else "the pattern of cl100k and Llama 3",
            "BOS" if adds_bos else "no BOS",
        )
    bos = None
    if family.adds_bos if family and adds_bos is None else adds_bos:
        added, bos = _with_bos(added, config, model_config)
    pattern = pattern or (family.pattern if family else PATTERN)
    definition = tokenizer_json_of_ranks(read_ranks(rank_file), added, pattern, bos)
    return _load(folder, definition, config)


def _read(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    content: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return content


def _with_bos(
    added: dict[int, Json], config: Json, model_config: Json
) -> tuple[dict[int, Json], int | None]:
    """The added tokens with BOS among them, and its id; none if the configuration names none."""
    named = config.get("bos_token")
    text = named.get("content") if isinstance(named, Mapping) else named
    known = next((i for i, token in added.items() if token["content"] == text), None)
    bos = model_config.get("bos_token_id") if known is None else known
    if not isinstance(bos, int):
        return added, None
    return {bos: {"content": text or "<|begin_of_text|>"}, **added}, bos


def _load(folder: Path, definition: str, config: Json) -> Any:
    """The definition and what goes with it, as transformers reads a folder."""
    kept = {key: value for key, value in config.items() if key not in _OF_THE_SLOW_TOKENIZER}
    kept["tokenizer_class"] = "PreTrainedTokenizerFast"
    with tempfile.TemporaryDirectory() as converted:
        Path(converted, "tokenizer.json").write_text(definition, "utf-8")
        Path(converted, "tokenizer_config.json").write_text(json.dumps(kept), "utf-8")
        for other in ("chat_template.jinja", "special_tokens_map.json"):
            if (folder / other).exists():
                shutil.copy(folder / other, converted)
        return AutoTokenizer.from_pretrained(converted)


_OF_THE_SLOW_TOKENIZER = ("auto_map", "added_tokens_decoder", "pat_str", "pattern", "add_bos_token")
