"""A member's tokenizer and chat template; loads no weights.

Gives the rest of the package plain values: a vocabulary, and conversations as ids.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jinja2 import TemplateError, TemplateSyntaxError
from transformers import GenerationConfig

from gac.core import Prompt
from gac.errors import MemberError, RequestError
from gac.model.template_probe import (
    ANSWER,
    NOTHING,
    Conversation,
    Probe,
    Render,
    end_of_turn,
    probe,
    template_tokens,
)
from gac.model.tokenizer_files import (
    TokenizerSource,
    read_config,
    read_tokenizer,
)
from gac.vocabulary.member_vocabulary import MemberVocabulary, read_member_vocabulary
from gac.vocabulary.prompt_encoder import Message, PromptEncoder

logger = logging.getLogger(__name__)

REFUSED_BY_TEMPLATE = "conversation_refused"
"""The code of an error whose message holds a template's own words, which may quote a message."""


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
        found = probe(_renderer(self.hf_tokenizer))
        if found.asked is None or found.told is None:
            reason = _reason(found.error)
            logger.warning(
                "member %s: its chat template fails on a simple question: %s", self.name, reason
            )
            return False
        asked, told = found.asked, found.told
        if not told.startswith(asked) or ANSWER not in told[len(asked) :]:
            told = asked + ANSWER
        before = self.vocabulary.spell(self.prompts.encode_rendered(asked))
        after = self.vocabulary.spell(self.prompts.encode_rendered(told))
        return after[len(before) :].startswith(b" " + ANSWER.encode())

    @property
    def start(self) -> int | None:
        """The id that stands in for the start of a text where nothing else does.

        BOS, else EOS if it ends texts, else the first stop id; None without stop ids.
        """
        bos, eos = self.hf_tokenizer.bos_token_id, self.hf_tokenizer.eos_token_id
        if bos is not None and bos < len(self.vocabulary.token_bytes):
            return int(bos)
        stops = self.vocabulary.stop_ids
        return eos if eos in stops else min(stops, default=None)

    def text_of(self, ids: Sequence[int]) -> bytes:
        """The text that ids spell if one begins with them: without a dummy space in front."""
        spelled = self.vocabulary.spell(ids)
        return spelled.removeprefix(b" ") if self.prompts.adds_space else spelled

    def prompt_of(self, text: bytes) -> Prompt:
        """A plain text as this member reads it; `start`, where that would be no ids at all.

        Raises: RequestError if the vocabulary cannot spell it.
        """
        ids = self.prompts.encode_bytes(text)
        return Prompt(tuple(ids) if ids or self.start is None else (self.start,))

    def prompt(
        self, messages: Sequence[Message], apply_chat_template: bool, opened: bool = True
    ) -> Prompt:
        """A conversation as this member reads it; `opened`: followed by the start of a reply.

        Without a template the contents are joined by newlines.
        Raises: RequestError naming the member if it has no template or its template fails.
        """
        if not apply_chat_template:
            return Prompt(tuple(self.prompts.encode_joined(messages)))
        if not self.has_template:
            raise RequestError(
                f"member {self.name!r} has no chat template", param="apply_chat_template"
            )
        shielded, taken = self.prompts.shield(messages)
        try:
            rendered = _renderer(self.hf_tokenizer)(shielded, opened)
        except Exception as error:  # a template is a program that came with the model
            raise RequestError(
                f"the chat template of member {self.name!r} refuses this conversation: "
                f"{_reason(error)}",
                param="messages_list",
                code=REFUSED_BY_TEMPLATE,
            ) from error
        return Prompt(tuple(self.prompts.encode_rendered(rendered, taken)), self.leads)


def load_member_tokenizer(
    name: str,
    path: str,
    revision: str | None = None,
    trust_remote_code: bool = False,
    chat_template: str | None = None,
) -> MemberTokenizer:
    """Load a member's tokenizer and check on sample texts that it keeps every byte.

    `chat_template` is a file with a Jinja template, which replaces the tokenizer's own.
    Raises: MemberError if it cannot be loaded; VocabularyError if one is lost.
    """
    source = TokenizerSource(path, revision, trust_remote_code, chat_template)
    hf_tokenizer = read_tokenizer(name, source)
    config = read_config(name, source)
    tokenizer_json = hf_tokenizer.backend_tokenizer.to_str()
    added = {i: token.content for i, token in hf_tokenizer.added_tokens_decoder.items()}
    found = _probe(name, source, hf_tokenizer)
    stop_ids = {hf_tokenizer.eos_token_id, end_of_turn(found, added)}
    stop_ids |= _configured_stops(name, source, config)
    vocabulary = read_member_vocabulary(
        name,
        tokenizer_json,
        {int(stop) for stop in stop_ids if stop is not None},
        config.vocab_size,
        template_tokens(found, added),
    )
    if not vocabulary.stop_ids:
        logger.warning(
            "member %s: NOTHING ENDS ITS TEXTS, all run to their full length. Name the end as "
            "eos_token_id in %s/generation_config.json",
            *(name, source.path),
        )
    prompts = PromptEncoder(tokenizer_json, vocabulary)
    return MemberTokenizer(name, vocabulary, prompts, hf_tokenizer)


def _probe(name: str, source: TokenizerSource, hf_tokenizer: Any) -> Probe:
    """What the template writes; nothing where there is none."""
    if not hf_tokenizer.chat_template:
        return NOTHING
    found = probe(_renderer(hf_tokenizer))
    if source.chat_template and isinstance(found.error, TemplateSyntaxError):
        where = f"chat_template {source.chat_template}, line {found.error.lineno}"
        raise MemberError(f"member {name!r}: {where}: {_reason(found.error)}")
    return found


def _configured_stops(name: str, source: TokenizerSource, config: Any) -> set[int | None]:
    """The stop ids of generation_config.json, else of config.json."""
    try:
        generation = GenerationConfig.from_pretrained(
            source.place, revision=source.revision or "main"
        )
    except Exception as error:  # a damaged file must not pass for a missing one
        if broken := source.broken_json():
            raise MemberError(f"member {name!r}: {broken}") from error
        if not isinstance(error, OSError):
            reason = f"generation_config.json cannot be used: {_reason(error)}"
            raise MemberError(f"member {name!r}: {source.path}: {reason}") from error
        generation = GenerationConfig.from_model_config(config)
    stops = generation.eos_token_id
    return set(stops) if isinstance(stops, list) else {stops}


def _renderer(hf_tokenizer: Any) -> Render:
    def render(conversation: Conversation, opened: bool) -> str:
        rendered: str = hf_tokenizer.apply_chat_template(
            [dict(message) for message in conversation],
            tokenize=False,
            add_generation_prompt=opened,
        )
        return rendered

    return render


def _reason(error: Exception | None) -> str:
    """What a template complains of, in one line."""
    line = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, TemplateError) and line:
        return line
    return f"{type(error).__name__}: {line}".rstrip(": ")
