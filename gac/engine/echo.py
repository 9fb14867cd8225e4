"""Prompts that are scored: what of them is read as a prompt, and what is forced as an answer.

Everything up to the last control token, at least one id, is read.  The rest runs through the
strategy as if it had been picked, and so every token of it has its likelihood.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import accumulate

from gac.core import END, Forced, GenerateRequest, Prompt
from gac.engine.ensemble import Ensemble
from gac.engine.prompts import Entry, Ids, is_ids, prompts_of_ids
from gac.errors import RequestError
from gac.model.templates import MemberTokenizer
from gac.vocabulary.detokenizer import begun_character
from gac.vocabulary.union import NOWHERE, UnionVocabulary


@dataclass(frozen=True, slots=True)
class EchoedPrompt:
    """A prompt in the ids of the reference member, token by token, and what each spells.

    The first `num_read` have no likelihood.  TokenEvent n of the request, from 0, is that of token
    `num_read` + n; so the first `len(ids) - num_read` TokenEvents belong to the prompt, and have
    its `token_bytes`.  Control tokens spell nothing.  A dummy space stands in front of the first
    token that is text, unless it is one token with and without it (see `split`).
    """

    ids: Ids
    token_bytes: tuple[bytes, ...]
    num_read: int

    @property
    def offsets(self) -> list[int]:
        """The byte at which each token begins in the joined bytes."""
        return list(accumulate((len(token) for token in self.token_bytes[:-1]), initial=0))


def echoed_prompt(request: GenerateRequest, reference: str, ensemble: Ensemble) -> EchoedPrompt:
    """The prompt of a request, as its reference member reads it."""
    vocabulary, read = ensemble.vocabularies[reference], request.prompts[reference].ids
    forced = request.forced
    token_bytes = (
        *(vocabulary.token_bytes[own] for own in read),
        *(ensemble.union.tokens[token] for token in forced.tokens),
    )
    return EchoedPrompt(read + forced.own_ids, token_bytes, len(read))


def ids_of(tokenizer: MemberTokenizer, entry: Entry) -> Ids:
    """The ids of a prompt that is to be scored: they themselves, or those of a plain text.

    Raises: RequestError for a conversation.
    """
    if is_ids(entry):
        return entry
    if not isinstance(entry, str):
        raise RequestError("echo: needs a plain text or ids, not a conversation", param="echo")
    return tuple(tokenizer.prompts.encode_text(entry))


def split(
    tokenizers: Mapping[str, MemberTokenizer], ids: Ids, reference: str, union: UnionVocabulary
) -> tuple[dict[str, Prompt], Forced]:
    """What every member reads, and what is forced, of a prompt that is to be scored."""
    token_bytes = tokenizers[reference].vocabulary.token_bytes
    last_control = max((n for n, own in enumerate(ids) if not token_bytes[own]), default=0)
    read, own_ids = ids[: last_control + 1], ids[last_control + 1 :]
    prompts = prompts_of_ids(tokenizers, read, reference)
    tokens = [int(token) for token in union.places[reference][list(own_ids)]]
    if own_ids and not tokenizers[reference].text_of(read):
        leading = _leading(tokenizers, reference, union, own_ids[0])
        prompts |= {name: replace(prompts[name], lead=True) for name in leading}
        if reference in leading:
            tokens[0] = int(union.lead_places[reference][own_ids[0]])
    begun = begun_character(tokenizers[reference].vocabulary.spell(read))
    return prompts, Forced(tuple(tokens), reference, own_ids, begun)


def _leading(
    tokenizers: Mapping[str, MemberTokenizer], reference: str, union: UnionVocabulary, first: int
) -> set[str]:
    """The members for which the text that begins with this id has a dummy space in front.

    So "▁the" and "the" are one token there, as in replies.  A member alone has its own tokens.
    """
    adding = {name for name, tokenizer in tokenizers.items() if tokenizer.prompts.adds_space}
    begins = tokenizers[reference].vocabulary.token_bytes[first].startswith(b" ")
    if adding == tokenizers.keys() or (begins and reference not in adding):
        return set()
    leading = adding & union.lead_places.keys()
    if reference in adding:
        can_lead = reference in leading and union.lead_places[reference][first] not in (
            NOWHERE,
            END,
        )
        return leading if begins and can_lead else set()
    return leading
