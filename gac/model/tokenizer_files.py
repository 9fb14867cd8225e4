"""From the files of a model to a tokenizer of `transformers`, or one line that says why not."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoTokenizer

from gac.errors import GacError, MemberError, VocabularyError
from gac.model.model_files import broken_json, find_file
from gac.model.rank_files import read_rank_tokenizer
from gac.vocabulary.disagreement import (
    SENTENCEPIECE_SAMPLES,
    encoder_of,
    first_difference,
    sentencepiece_encoder,
)
from gac.vocabulary.tiktoken_file import find_tiktoken_file

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TokenizerSource:
    """Where a tokenizer comes from: a folder or hub name.

    `chat_template` is a file with a Jinja template, which replaces the tokenizer's own.
    """

    path: str
    revision: str | None = None
    trust_remote_code: bool = False
    chat_template: str | None = None

    @property
    def place(self) -> str:
        """The folder or hub name, with the home directory filled in."""
        return os.path.expanduser(self.path)

    @property
    def options(self) -> dict[str, Any]:
        """What `from_pretrained` is told."""
        return {"revision": self.revision, "trust_remote_code": self.trust_remote_code}

    def file(self, name: str) -> Path | None:
        """A file of the model on this machine."""
        return find_file(self.path, name, self.revision)

    def broken_json(self) -> str | None:
        """Which of the model's JSON files cannot be read, and where it is wrong."""
        return broken_json(self.path, self.revision)


def read_config(name: str, source: TokenizerSource) -> Any:
    """The text part of a model's configuration, which says how many ids the model has.

    Raises: MemberError.
    """
    try:
        config = AutoConfig.from_pretrained(source.place, **source.options).get_text_config()
        size = getattr(config, "vocab_size", None)
    except Exception as error:  # configurations and remote code may raise anything
        raise _load_error(name, source, error) from error
    if not isinstance(size, int) or size < 1:
        raise MemberError(
            f"member {name!r}: {source.path}: vocab_size in config.json is {size!r}; "
            "it must be the number of the model's ids"
        )
    return config


def read_tokenizer(name: str, source: TokenizerSource) -> Any:
    """The tokenizer, with the chat template that the configuration gives it.

    Raises: MemberError or VocabularyError.
    """
    try:
        rank_file = find_tiktoken_file(Path(source.place))
        if rank_file is None:
            hf_tokenizer = AutoTokenizer.from_pretrained(source.place, **source.options)
        else:
            hf_tokenizer = read_rank_tokenizer(name, Path(source.place), rank_file)
    except GacError:
        raise
    except Exception as error:  # tokenizers and remote code may raise anything
        raise _load_error(name, source, error) from error
    if not hf_tokenizer.is_fast:
        raise MemberError(
            f"member {name!r}: {source.path} has no tokenizer that `tokenizers` can read"
        )
    if rank_file is None:
        _compare_with_file(name, source, hf_tokenizer)
    if source.chat_template:
        hf_tokenizer.chat_template = _read_template(name, source.chat_template)
    return hf_tokenizer


def _sentencepiece_file(source: TokenizerSource) -> Path | None:
    names = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
    return next(filter(None, map(source.file, names)), None)


def _read_template(name: str, path: str) -> str:
    try:
        return Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MemberError(
            f"member {name!r}: chat_template {path} cannot be read: {error}"
        ) from error


def _compare_with_file(name: str, source: TokenizerSource, hf_tokenizer: Any) -> None:
    """Warn if transformers made another tokenizer than the file holds."""
    rebuilt = hf_tokenizer.backend_tokenizer.to_str()
    if path := source.file("tokenizer.json"):
        difference = first_difference(encoder_of(path.read_text("utf-8")), encoder_of(rebuilt))
    elif path := _sentencepiece_file(source):
        given = sentencepiece_encoder(path)
        difference = first_difference(given, encoder_of(rebuilt), SENTENCEPIECE_SAMPLES)
    else:
        return
    if difference:
        text, expected, ids = difference
        logger.warning(
            "member %s: transformers builds ANOTHER TOKENIZER than %s holds: %r becomes %s, not "
            "%s. The tokenizer_class in tokenizer_config.json or model_type in config.json does "
            "not fit the file (transformers took %s; for a tokenizer.json, "
            "PreTrainedTokenizerFast takes it as it is). This member's prompts are probably wrong.",
            *(name, path, text, ids[:12], expected[:12], type(hf_tokenizer).__name__),
        )


def _load_error(name: str, source: TokenizerSource, error: Exception) -> MemberError:
    if isinstance(error, GacError):
        return MemberError(f"member {name!r}: {error.message}")
    cause = _cause(source, error)
    return MemberError(f"member {name!r}: cannot load a tokenizer from {source.path}: {cause}")


def _cause(source: TokenizerSource, error: Exception) -> str:
    """Why loading failed, for a person, in half a sentence."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    line = lines[0].rstrip(".: ")
    if not os.path.isdir(source.place):
        if os.path.isabs(source.place) or source.place.startswith("."):
            return "there is no such directory"
        if isinstance(error, OSError):
            return f"no such directory, nor can it be had from the Hub ({line})"
    if broken := source.broken_json():
        return broken
    if not source.file("tokenizer.json") and (path := _sentencepiece_file(source)):
        try:
            sentencepiece_encoder(path)
        except VocabularyError as damaged:
            return damaged.message
    if "trust_remote_code" in str(error):
        return "it brings its own code, which only runs with trust_remote_code: true"
    if "Couldn't instantiate the backend tokenizer" in line:
        return "it holds no tokenizer.json, nor another file that one can be made from"
    return line
