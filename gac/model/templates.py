"""A member's tokenizer and chat template as Hugging Face stores them; loads no weights.

Gives the rest of the package plain values: `tokenizer.json` as text, the stop ids, the width of the
model's head, and conversations rendered to text or to ids.
"""

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from transformers import AutoConfig, AutoTokenizer, GenerationConfig

from gac.core import Prompt
from gac.errors import MemberError, RequestError, VocabularyError
from gac.vocabulary.member_vocabulary import MemberVocabulary, read_member_vocabulary
from gac.vocabulary.prompt_encoder import Message, PromptEncoder
from gac.vocabulary.tiktoken_file import find_tiktoken_file, read_ranks, tokenizer_json_of_ranks

logger = logging.getLogger(__name__)

REFUSED_BY_TEMPLATE = "conversation_refused"
"""The code of an error whose message holds a template's own words, which may quote a message."""
_PROBE_QUESTION: Message = {"role": "user", "content": "Hello"}
_PROBE_ANSWER = "Paris"
_REFUSALS = (TemplateError, TypeError, ValueError, LookupError)
"""What a Jinja template raises for a conversation it was not written for."""


@dataclass(frozen=True)
class MemberTokenizer:
    """A member's tokenizer, vocabulary and chat template."""

    name: str
    vocabulary: MemberVocabulary
    prompts: PromptEncoder
    hf_tokenizer: Any

    @property
    def has_template(self) -> bool:
        """Whether conversations can be rendered at all."""
        return bool(self.hf_tokenizer.chat_template)

    @cached_property
    def leads(self) -> bool:
        """Whether the first token of a templated reply carries a dummy space."""
        if not self.has_template:
            return False
        try:
            asked = _render(self.hf_tokenizer, [_PROBE_QUESTION], True)
            told = _render_answered(self.hf_tokenizer)
        except _REFUSALS as error:
            logger.warning("member %s: its chat template refuses a probe: %s", self.name, error)
            return False
        if not told.startswith(asked) or _PROBE_ANSWER not in told[len(asked) :]:
            told = asked + _PROBE_ANSWER
        before = self.vocabulary.spell(self.prompts.encode_rendered(asked))
        after = self.vocabulary.spell(self.prompts.encode_rendered(told))
        return after[len(before) :].startswith(b" " + _PROBE_ANSWER.encode())

    def prompt(self, messages: Sequence[Message], apply_chat_template: bool) -> Prompt:
        """A conversation as this member reads it.

        Without a template the contents are joined by newlines.
        Raises: RequestError naming the member if it has no template or its template refuses.
        """
        if not apply_chat_template:
            text = "\n".join(message["content"] for message in messages)
            return Prompt(tuple(self.prompts.encode_text(text)))
        if not self.has_template:
            raise RequestError(
                f"member {self.name!r} has no chat template", param="apply_chat_template"
            )
        try:
            shielded, taken = self.prompts.shield(messages)
            rendered = _render(self.hf_tokenizer, shielded, True)
        except _REFUSALS as error:
            raise RequestError(
                f"the chat template of member {self.name!r} refuses this conversation: {error}",
                param="messages_list",
                code=REFUSED_BY_TEMPLATE,
            ) from error
        return Prompt(tuple(self.prompts.encode_rendered(rendered, taken)), self.leads)


def load_member_tokenizer(
    name: str, path: str, revision: str | None = None, trust_remote_code: bool = False
) -> MemberTokenizer:
    """Load a member's tokenizer and check that it is lossless.

    Raises: MemberError if it cannot be loaded; VocabularyError if it loses bytes.
    """
    path = os.path.expanduser(path)
    options = {"revision": revision, "trust_remote_code": trust_remote_code}
    try:
        hf_tokenizer = _read_hf_tokenizer(path, options)
        config = AutoConfig.from_pretrained(path, **options).get_text_config()
    except VocabularyError:
        raise
    except Exception as error:  # configs, tokenizers and remote code may raise anything
        raise MemberError(
            f"member {name!r}: cannot load a tokenizer from {path}: {_cause(path, error)}"
        ) from error
    if not hf_tokenizer.is_fast:
        raise MemberError(f"member {name!r}: {path} has no tokenizer that `tokenizers` can read")
    tokenizer_json = hf_tokenizer.backend_tokenizer.to_str()
    stop_ids = _stop_ids(path, revision, config, hf_tokenizer)
    vocabulary = read_member_vocabulary(name, tokenizer_json, stop_ids, config.vocab_size)
    return MemberTokenizer(
        name, vocabulary, PromptEncoder(tokenizer_json, vocabulary), hf_tokenizer
    )


def _read_hf_tokenizer(path: str, options: dict[str, Any]) -> Any:
    """What Hugging Face makes of a folder or a hub name; a lone tiktoken file is converted."""
    original = Path(path)
    rank_file = find_tiktoken_file(original)
    if rank_file is None:
        return AutoTokenizer.from_pretrained(path, **options)
    config_file = original / "tokenizer_config.json"
    config = json.loads(config_file.read_text("utf-8")) if config_file.exists() else {}
    config = {**config, "tokenizer_class": "PreTrainedTokenizerFast"}
    config.pop("auto_map", None)
    added = {int(i): token for i, token in config.pop("added_tokens_decoder", {}).items()}
    with tempfile.TemporaryDirectory() as folder:
        converted = Path(folder)
        text = tokenizer_json_of_ranks(read_ranks(rank_file), added)
        (converted / "tokenizer.json").write_text(text, "utf-8")
        (converted / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
        for other in ("chat_template.jinja", "special_tokens_map.json"):
            if (original / other).exists():
                shutil.copy(original / other, converted)
        return AutoTokenizer.from_pretrained(folder)


def _cause(path: str, error: Exception) -> str:
    """Why loading failed, for a person, in half a sentence."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    line = lines[0].rstrip(".: ")
    if not os.path.isdir(path):
        if os.path.isabs(path) or path.startswith("."):
            return "there is no such directory"
        if isinstance(error, OSError):
            return f"no such directory, nor can it be had from the Hub ({line})"
    if "Couldn't instantiate the backend tokenizer" in line:
        return "it holds no tokenizer.json, nor another file that one can be made from"
    if "trust_remote_code" in str(error):
        return "it brings its own code, which only runs with trust_remote_code: true"
    return line


def _stop_ids(path: str, revision: str | None, config: Any, hf_tokenizer: Any) -> set[int]:
    """Every id that ends a reply: generation config, tokenizer, and the template's end of turn."""
    try:
        generation = GenerationConfig.from_pretrained(path, revision=revision or "main")
    except OSError:
        generation = GenerationConfig.from_model_config(config)
    stops = {hf_tokenizer.eos_token_id, _end_of_turn(hf_tokenizer)}
    configured = generation.eos_token_id
    stops.update(configured if isinstance(configured, list) else [configured])
    return {int(stop) for stop in stops if stop is not None}


def _end_of_turn(hf_tokenizer: Any) -> int | None:
    """The added token that the template writes after an answer, if it writes one."""
    if not hf_tokenizer.chat_template:
        return None
    try:
        told = _render_answered(hf_tokenizer)
    except _REFUSALS:
        return None
    after = told.rpartition(_PROBE_ANSWER)[2].lstrip() if _PROBE_ANSWER in told else ""
    matches = [
        (len(token.content), token_id)
        for token_id, token in hf_tokenizer.added_tokens_decoder.items()
        if after.startswith(token.content)
    ]
    return max(matches)[1] if matches else None


def _render_answered(hf_tokenizer: Any) -> str:
    answer = {"role": "assistant", "content": _PROBE_ANSWER}
    return _render(hf_tokenizer, [_PROBE_QUESTION, answer], False)


def _render(hf_tokenizer: Any, messages: Sequence[Message], generation_prompt: bool) -> str:
    rendered: str = hf_tokenizer.apply_chat_template(
        [dict(message) for message in messages],
        tokenize=False,
        add_generation_prompt=generation_prompt,
    )
    return rendered
