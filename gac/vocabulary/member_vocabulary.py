"""One member's vocabulary as the ensemble sees it: bytes, END, what is masked, and its encoder."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from gac.errors import VocabularyError
from gac.vocabulary.self_test import check_lossless
from gac.vocabulary.text_encoder import CannotSpell, TextEncoder
from gac.vocabulary.token_bytes import Family, TokenTable, read_token_table


@dataclass(frozen=True)
class MemberVocabulary:
    """A lossless vocabulary of Vm ids (as many as the model has logits).

    `token_bytes[id]` is empty for ids that are no text: stop ids, masked control tokens, rows of
    the model past the tokenizer.  `canonical` gives for each byte string the id that the tokenizer
    itself would produce.
    """

    name: str
    family: Family
    token_bytes: tuple[bytes, ...]
    stop_ids: frozenset[int]
    masked_ids: frozenset[int]
    canonical: dict[bytes, int]
    encoder: TextEncoder

    def spell(self, ids: Iterable[int]) -> bytes:
        """The bytes of ids, joined; control tokens add nothing."""
        return b"".join(map(self.token_bytes.__getitem__, ids))

    @property
    def dummy_space(self) -> int | None:
        """The id of the lone space, which a member may write before its first word."""
        return self.canonical.get(b" ")


def read_member_vocabulary(
    name: str, tokenizer_json: str, stop_ids: Iterable[int], num_logits: int
) -> MemberVocabulary:
    """Read, check and arrange the vocabulary of a `tokenizer.json`.

    `num_logits` is the width of the model's head, `stop_ids` what ends a text.

    Raises: VocabularyError if the tokenizer loses bytes, or names ids the model does not have.
    """
    definition = json.loads(tokenizer_json)
    try:
        table = read_token_table(definition)
    except VocabularyError as error:
        raise VocabularyError(f"the tokenizer of member {name!r} is refused: {error}") from error
    encoder = TextEncoder(definition, table)
    check_lossless(name, definition, table, encoder)
    stops = frozenset(stop_ids)
    if bad := [token_id for token_id in stops if not 0 <= token_id < num_logits]:
        raise VocabularyError(f"member {name!r} has stop ids {bad}, its model ends at {num_logits}")
    token_bytes = _textual_bytes(table, stops, num_logits)
    masked = {i for i, token in enumerate(token_bytes) if not token and i not in stops}
    return MemberVocabulary(
        name=name,
        family=table.family,
        token_bytes=token_bytes,
        stop_ids=stops,
        masked_ids=frozenset(masked),
        canonical=_canonical_ids(table, token_bytes, encoder),
        encoder=encoder,
    )


def _textual_bytes(table: TokenTable, stops: frozenset[int], num_logits: int) -> tuple[bytes, ...]:
    """The table cut or padded to the model's width, emptied where an id is not ordinary text."""
    silent = table.special | stops
    known = min(num_logits, len(table.token_bytes))
    texts = (b"" if i in silent else table.token_bytes[i] for i in range(known))
    return (*texts, *(b"" for _ in range(num_logits - known)))


def _canonical_ids(
    table: TokenTable, token_bytes: tuple[bytes, ...], encoder: TextEncoder
) -> dict[bytes, int]:
    """Byte string -> id; where several ids share bytes, the one that encoding gives."""
    first: dict[bytes, int] = {}
    shared: dict[bytes, list[int]] = {}
    for token_id, token in enumerate(token_bytes):
        if token and first.setdefault(token, token_id) != token_id:
            shared.setdefault(token, [first[token]]).append(token_id)
    for token, ids in shared.items():
        first[token] = _produced(token, ids, table, encoder)
    return first


def _produced(token: bytes, ids: list[int], table: TokenTable, encoder: TextEncoder) -> int:
    try:
        produced = encoder.encode(token)
    except CannotSpell:
        produced = []
    if len(produced) == 1 and produced[0] in ids:
        return produced[0]
    return min(ids, key=lambda token_id: (token_id in table.single_bytes, token_id))
