"""What a client may have meant otherwise, told beside an answer that is right but of no use."""

from collections.abc import Iterable, Sequence

from gac.core import FinishReason
from gac.engine.client_request import ClientRequest
from gac.engine.prompts import Entry, is_ids
from gac.engine.writer import WrittenText
from gac.model.templates import MemberTokenizer


def hints_for(
    request: ClientRequest, tokenizers: Iterable[MemberTokenizer], texts: Sequence[WrittenText]
) -> list[str]:
    """Hints on texts without a token; `tokenizers` are of the members that wrote."""
    if request.apply_chat_template or not all(one.has_template for one in tokenizers):
        return []
    empty = [
        f"response[{place}]"
        for place, text in enumerate(texts)
        if _is_conversation(request.messages_list[place // request.n])
        and text.finish.reason is FinishReason.STOP
        and not text.finish.completion_tokens
    ]
    if not empty:
        return []
    where = f"{', '.join(empty)}: " if len(texts) > 1 else ""
    what = "the prompt was sent without a chat template; set apply_chat_template: true"
    return [f"{where}0 tokens: {what}"]


def _is_conversation(entry: Entry) -> bool:
    return not (isinstance(entry, str) or is_ids(entry))
