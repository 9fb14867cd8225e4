"""A conversation as every member reads it, checked against what each can hold."""

from collections.abc import Mapping, Sequence

from gac.core import Prompt
from gac.engine.ensemble import Ensemble
from gac.errors import RequestError
from gac.model.templates import MemberTokenizer
from gac.vocabulary.prompt_encoder import Message

Conversation = Sequence[Message]


def build_prompts(
    tokenizers: Mapping[str, MemberTokenizer],
    conversation: Conversation | str,
    apply_chat_template: bool,
) -> dict[str, Prompt]:
    """The prompt of each member, in its own ids; a plain text has no template applied.

    Raises: RequestError naming the member whose template refuses the conversation.
    """
    if isinstance(conversation, str):
        conversation, apply_chat_template = [{"role": "user", "content": conversation}], False
    return {
        name: tokenizer.prompt(conversation, apply_chat_template)
        for name, tokenizer in tokenizers.items()
    }


def check_room(ensemble: Ensemble, prompts: Mapping[str, Prompt], max_length: int | None) -> None:
    """Every member must hold its prompt and at least one token more.

    Raises: RequestError naming the member, its count of tokens and its limit.
    """
    for name, prompt in prompts.items():
        needed = len(prompt.ids) + prompt.lead + 1
        if not prompt.ids:
            raise RequestError(f"the prompt is empty for member {name!r}", param="messages_list")
        limit = ensemble.context_limit(name)
        if needed > limit:
            raise RequestError(
                f"the prompt has {len(prompt.ids)} tokens for member {name!r}, "
                f"whose context holds {limit}",
                param="messages_list",
                code="context_length_exceeded",
            )
        if max_length is not None and needed > max_length:
            raise RequestError(
                f"max_length {max_length} leaves no room for an answer: the prompt has "
                f"{len(prompt.ids)} tokens for member {name!r}",
                param="max_length",
            )
