"""A member's tokenizer and chat template as Hugging Face stores them; loads no weights.

Gives the rest of the package plain values: `tokenizer.json` as text, the stop ids, the width of the
model's head, and conversations rendered to text or to ids.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jinja2 import TemplateError
from transformers import AutoConfig, AutoTokenizer, GenerationConfig

from gac.core import Prompt
from gac.errors import MemberError, RequestError
from gac.vocabulary.member_vocabulary import MemberVocabulary, read_member_vocabulary
from gac.vocabulary.prompt_encoder import Message, PromptEncoder

logger = logging.getLogger(__name__)

_PROBE_QUESTION: Message = {"role": "user", "content": "Hello"}
_PROBE_ANSWER = "Paris"
_REFUSALS = (TemplateError, TypeError, ValueError, KeyError)
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
        if not told.startswith(asked):
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
            ) from error
        return Prompt(tuple(self.prompts.encode_rendered(rendered, taken)), self.leads)


def load_member_tokenizer(
    name: str, path: str, revision: str | None = None, trust_remote_code: bool = False
) -> MemberTokenizer:
    """Load a member's tokenizer and check that it is lossless.

    Raises: MemberError if it cannot be loaded; VocabularyError if it loses bytes.
    """
    options = {"revision": revision, "trust_remote_code": trust_remote_code}
    try:
        hf_tokenizer = AutoTokenizer.from_pretrained(path, **options)
        config = AutoConfig.from_pretrained(path, **options).get_text_config()
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise MemberError(
            f"member {name!r}: cannot load a tokenizer from {path}: {_first_line(error)}"
        ) from error
    if not hf_tokenizer.is_fast:
        raise MemberError(f"member {name!r}: {path} has no tokenizer that `tokenizers` can read")
    tokenizer_json = hf_tokenizer.backend_tokenizer.to_str()
    stop_ids = _stop_ids(path, revision, config, hf_tokenizer)
    vocabulary = read_member_vocabulary(name, tokenizer_json, stop_ids, config.vocab_size)
    prompts = PromptEncoder(tokenizer_json, vocabulary.encoder)
    return MemberTokenizer(name, vocabulary, prompts, hf_tokenizer)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


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
    after = told[told.rindex(_PROBE_ANSWER) + len(_PROBE_ANSWER) :].lstrip()
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
