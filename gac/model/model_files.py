"""A model's JSON files on this machine: where they lie, and which of them is damaged."""

import json
import os
from pathlib import Path

from huggingface_hub import try_to_load_from_cache

_JSON_FILES = (
    "config.json",
    "tokenizer_config.json",
    "generation_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.json",
    "model.safetensors.index.json",
)


def find_file(path: str, name: str, revision: str | None = None) -> Path | None:
    """A file of a model's folder, or of a hub name as far as the Hub's cache has it."""
    place = os.path.expanduser(path)
    if os.path.isdir(place):
        file = Path(place, name)
        return file if file.is_file() else None
    if os.path.isabs(place) or place.startswith("."):
        return None
    cached = try_to_load_from_cache(place, name, revision=revision)
    return Path(cached) if isinstance(cached, str) else None


def broken_json(path: str, revision: str | None = None) -> str | None:
    """Which of a model's JSON files cannot be read, and where it is wrong."""
    for name in _JSON_FILES:
        if file := find_file(path, name, revision):
            try:
                content = json.loads(file.read_text("utf-8"))
            except json.JSONDecodeError as error:
                at = f"line {error.lineno}, column {error.colno}"
                return f"{file} is not valid JSON: {error.msg} ({at})"
            except (OSError, UnicodeDecodeError) as error:
                return f"{file} cannot be read: {error}"
            if not isinstance(content, dict):
                return f"{file} is not a JSON object"
    return None
