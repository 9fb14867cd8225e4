"""A member's ids as text for people and clients, control tokens written out."""

from collections.abc import Sequence
from itertools import takewhile

from gac.model.templates import MemberTokenizer


def detokenized(tokenizer: MemberTokenizer, ids: Sequence[int]) -> str:
    """What ids spell, without a dummy space in front; incomplete characters show as U+FFFD."""
    vocabulary = tokenizer.vocabulary
    named = {**vocabulary.control_texts, **vocabulary.stop_texts}
    controls = list(takewhile(lambda own: not vocabulary.token_bytes[own], ids))
    written = "".join(named.get(own, "") for own in controls)
    spelled = b"".join(
        vocabulary.token_bytes[own] or named.get(own, "").encode() for own in ids[len(controls) :]
    )
    if tokenizer.prompts.adds_space:
        spelled = spelled.removeprefix(b" ")
    return written + spelled.decode(errors="replace")


def id_of_special(tokenizer: MemberTokenizer, text: str) -> int | None:
    """The id of BOS, EOS or the padding token, where a text is exactly how it is written."""
    own = tokenizer.hf_tokenizer
    specials = ((own.eos_token, own.eos_token_id), (own.bos_token, own.bos_token_id))
    pairs = (*specials, (own.pad_token, own.pad_token_id))
    found = next((own_id for written, own_id in pairs if written == text), None)
    return None if found is None or found >= len(tokenizer.vocabulary.token_bytes) else int(found)


def id_texts(tokenizer: MemberTokenizer, ids: Sequence[int]) -> list[str]:
    """How the tokenizer itself writes each id, empty where it has none."""
    return [text or "" for text in tokenizer.hf_tokenizer.convert_ids_to_tokens(list(ids))]
