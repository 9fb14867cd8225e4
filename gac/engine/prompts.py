"""A prompt as every member reads it, checked against what each can hold.

It is a conversation, a plain text, or ids of one member's tokenizer.
"""

from collections.abc import Mapping, Sequence
from typing import TypeGuard, cast

from gac.core import Prompt
from gac.engine.ensemble import Ensemble
from gac.errors import RequestError
from gac.model.templates import MemberTokenizer
from gac.vocabulary.prompt_encoder import Message

Conversation = Sequence[Message]
Ids = tuple[int, ...]
Entry = Conversation | str | Ids
"""What stands in `messages_list`; ids are those of the reference member."""


def is_ids(entry: Entry) -> TypeGuard[Ids]:
    """Whether a prompt is given as ids."""
    return isinstance(entry, tuple) and bool(entry) and isinstance(entry[0], int)


def build_prompts(
    tokenizers: Mapping[str, MemberTokenizer],
    entry: Entry,
    apply_chat_template: bool,
    reference: str,
) -> dict[str, Prompt]:
    """The prompt of each member, in its own ids; only to a conversation a template is applied.

    Raises: RequestError naming the member whose template refuses the conversation.
    """
    if is_ids(entry):
        return prompts_of_ids(tokenizers, entry, reference)
    if isinstance(entry, str):
        entry, apply_chat_template = [{"role": "user", "content": entry}], False
    conversation = cast("Conversation", entry)
    return {
        name: tokenizer.prompt(conversation, apply_chat_template)
        for name, tokenizer in tokenizers.items()
    }


def prompts_of_ids(
    tokenizers: Mapping[str, MemberTokenizer], ids: Ids, reference: str
) -> dict[str, Prompt]:
    """Exactly these ids for the reference member; for the others the text that they spell.

    Control tokens spell nothing.  If no text is left, it is the start of one.
    Raises: RequestError naming a member that cannot spell the text.
    """
    text = tokenizers[reference].text_of(ids)
    return {
        name: Prompt(ids) if name == reference else tokenizer.prompt_of(text)
        for name, tokenizer in tokenizers.items()
    }


def check_ids(tokenizer: MemberTokenizer, ids: Ids, where: str) -> None:
    """Every id must be one of the member's model.

    Raises: RequestError naming the place.
    """
    last = len(tokenizer.vocabulary.token_bytes) - 1
    for place, own_id in enumerate(ids):
        if not 0 <= own_id <= last:
            field = f"{where}[{place}]"
            what = f"{own_id} is no token id of member {tokenizer.name!r}, they are 0 to {last}"
            raise RequestError(f"{field}: {what}", param=field)


def check_room(
    ensemble: Ensemble, prompts: Mapping[str, Prompt], max_length: int | None, num_new: int = 1
) -> None:
    """Every member must hold its prompt and `num_new` tokens more.

    Raises: RequestError naming the member, its count of tokens and its limit.
    """
    for name, prompt in prompts.items():
        needed = len(prompt.ids) + prompt.lead + num_new
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
