"""What a client asks to penalise or favour, by union id."""

from collections.abc import Mapping

from gac.core import Penalties
from gac.engine.client_request import ClientRequest
from gac.errors import RequestError
from gac.vocabulary.union import NOWHERE, UnionVocabulary


def penalties_of(request: ClientRequest, reference: str, union: UnionVocabulary) -> Penalties:
    """The penalties of a request whose ids are those of the `reference` member.

    Raises: RequestError naming an id that this member lacks, or that can never be picked.
    """
    return Penalties(
        request.presence_penalty,
        request.frequency_penalty,
        request.repetition_penalty,
        _by_union_id(request.logit_bias or {}, reference, union),
    )


def _by_union_id(
    logit_bias: Mapping[int, float], reference: str, union: UnionVocabulary
) -> dict[int, float]:
    """Of several ids of the same bytes, which are one token, the largest bias counts by size."""
    places, biases = union.places[reference], dict[int, float]()
    for own_id, bias in logit_bias.items():
        field = f"logit_bias.{own_id}"
        if not 0 <= own_id < places.size:
            have = f"the ids of {reference!r}, which are meant, are from 0 to {places.size - 1}"
            raise RequestError(f"{field}: {have}", param=field)
        token = int(places[own_id])
        if token != NOWHERE:
            biases[token] = max(biases.get(token, 0.0), bias, key=abs)
        elif bias > 0.0:  # nothing is never picked: to ban it is no mistake
            what = f"{reference!r} has no text there, so it is never picked; no bias above 0"
            raise RequestError(f"{field}: {what}", param=field)
    return biases
