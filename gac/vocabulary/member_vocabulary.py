"""One member's vocabulary as the ensemble sees it: bytes, END, what is masked, and its encoder."""

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from gac.errors import VocabularyError
from gac.vocabulary.added_tokens import NO_TEMPLATE, TemplateTokens, without_plain
from gac.vocabulary.plain_tokenizer import cut_definition, largest_id
from gac.vocabulary.self_test import check_lossless
from gac.vocabulary.text_encoder import CannotSpell, TextEncoder
from gac.vocabulary.token_bytes import Family, Json, TokenTable, read_token_table

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class MemberVocabulary:
    """A vocabulary of Vm ids (as many as the model has logits) that passed the self-test.

    `token_bytes[id]` is empty for ids that are no text: stop ids, masked control tokens, rows of
    the model past the tokenizer.  `control_texts`, `markup_texts` (see `added_tokens`) and
    `stop_texts` hold how the tokenizer writes these ids; stop ids may be ordinary tokens.
    `canonical` gives for each byte string the id that the tokenizer itself would produce.
    `encoder` is for text that members write, `literal` for users' text: it reads no markup.
    """

    name: str
    family: Family
    token_bytes: tuple[bytes, ...]
    stop_ids: frozenset[int]
    masked_ids: frozenset[int]
    control_texts: Mapping[int, str]
    markup_texts: Mapping[int, str]
    stop_texts: Mapping[int, str]
    canonical: Mapping[bytes, int]
    encoder: TextEncoder
    literal: TextEncoder

    def spell(self, ids: Iterable[int]) -> bytes:
        """The bytes of ids, joined; control tokens add nothing."""
        return b"".join(map(self.token_bytes.__getitem__, ids))

    @property
    def dummy_space(self) -> int | None:
        """The id of the lone space, which a member may write before its first word."""
        return self.canonical.get(b" ")


def read_member_vocabulary(
    name: str,
    tokenizer_json: str,
    stop_ids: Iterable[int],
    num_logits: int,
    template: TemplateTokens = NO_TEMPLATE,
) -> MemberVocabulary:
    """Read, check and arrange the vocabulary of a `tokenizer.json`.

    `num_logits` is the width of the model's head, `stop_ids` what ends a text.  Ids of the
    tokenizer that the model lacks are left out, with a warning.

    Raises: VocabularyError if the tokenizer loses bytes, or stop ids are not the model's.
    """
    whole, stops = json.loads(tokenizer_json), frozenset(stop_ids)
    if bad := sorted(stop for stop in stops if not 0 <= stop < num_logits):
        raise VocabularyError(f"member {name!r} has stop ids {bad}, its model ends at {num_logits}")
    definition, table = _read_table(name, whole, num_logits)
    named = without_plain(table.added)
    controls = table.special | (stops & table.added.keys()) | (template.structure & named.keys())
    silent = (controls - template.in_turn) | stops
    textual = _silenced(table, silent)
    encoder = TextEncoder(definition, textual)
    check_lossless(name, definition, table.family, encoder)
    _warn_of_missing_bytes(name, len(encoder.missing_bytes))
    token_bytes = textual.token_bytes + (b"",) * (num_logits - len(textual.token_bytes))
    return MemberVocabulary(
        name=name,
        family=table.family,
        token_bytes=token_bytes,
        stop_ids=stops,
        masked_ids=frozenset(i for i, token in enumerate(token_bytes) if not token) - stops,
        control_texts=_texts(table, controls),
        markup_texts={i: text for i, text in named.items() if i not in controls},
        stop_texts=_texts(table, stops),
        canonical=_canonical_ids(textual, encoder),
        encoder=encoder,
        literal=encoder
        if silent >= named.keys()
        else TextEncoder(definition, _silenced(table, silent | named.keys())),
    )


def _read_table(name: str, definition: Json, num_logits: int) -> tuple[Json, TokenTable]:
    """The definition without ids that the model lacks, and what the others stand for."""
    try:
        cut = cut_definition(definition, num_logits)
        if cut is not definition:
            message = "member %s: its tokenizer has ids up to %d, its model only up to %d; "
            message += "what the ids in between stand for is spelled with other tokens"
            logger.warning(message, name, largest_id(definition), num_logits - 1)
        return cut, read_token_table(cut)
    except VocabularyError as error:
        raise VocabularyError(f"the tokenizer of member {name!r} is refused: {error}") from error


def _warn_of_missing_bytes(name: str, missing: int) -> None:
    if missing:
        message = "member %s: no token spells %d of the 256 bytes; it abstains where one is needed"
        logger.warning(message, name, missing)


def _texts(table: TokenTable, ids: frozenset[int]) -> dict[int, str]:
    """How the tokenizer writes these ids, of those it has."""
    known = sorted(token_id for token_id in ids if token_id < len(table.token_bytes))
    texts = {i: table.token_bytes[i].decode(errors="replace") for i in known}
    return {**texts, **{i: table.added[i] for i in known if i in table.added}}


def _silenced(table: TokenTable, silent: frozenset[int]) -> TokenTable:
    """The table with no bytes for ids that are not ordinary text."""
    ids = enumerate(table.token_bytes)
    return replace(table, token_bytes=tuple(b"" if i in silent else token for i, token in ids))


def _canonical_ids(textual: TokenTable, encoder: TextEncoder) -> dict[bytes, int]:
    """Byte string -> id; where several ids share bytes, the one that encoding gives."""
    first: dict[bytes, int] = {}
    shared: dict[bytes, list[int]] = {}
    for token_id, token in enumerate(textual.token_bytes):
        if token and first.setdefault(token, token_id) != token_id:
            shared.setdefault(token, [first[token]]).append(token_id)
    for token, ids in shared.items():
        first[token] = _produced(token, ids, textual, encoder)
    return first


def _produced(token: bytes, ids: list[int], textual: TokenTable, encoder: TextEncoder) -> int:
    try:
        produced = encoder.encode(token)
    except CannotSpell:
        produced = []
    if len(produced) == 1 and produced[0] in ids:
        return produced[0]
    return min(ids, key=lambda token_id: (token_id in textual.fallback, token_id))
