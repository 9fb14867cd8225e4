"""Requests whose first tokens are forced, and tokenizers for models that have no folder."""

import json
from collections.abc import Mapping
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from gac.core import GenerateRequest
from gac.engine.echo import split
from gac.engine.ensemble import Ensemble
from gac.model.templates import MemberTokenizer
from tests.support.real_members import DEFINITIONS, RealModel


def tokenizer_of(model: RealModel) -> MemberTokenizer:
    """Its own, or for a model with random weights one that ends texts with its last token."""
    if model.tokenizer is not None:
        return model.tokenizer
    definition = DEFINITIONS[model.name]
    specials = [token["content"] for token in json.loads(definition)["added_tokens"]]
    hf_tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(definition), eos_token=specials[-1]
    )
    return MemberTokenizer(model.name, model.vocabulary, model.prompts, hf_tokenizer)


def scoring(
    ensemble: Ensemble,
    tokenizers: Mapping[str, MemberTokenizer],
    ids: tuple[int, ...],
    reference: str,
    **fields: Any,
) -> GenerateRequest:
    """A request that scores these ids of the reference member."""
    prompts, forced = split(tokenizers, ids, reference, ensemble.union)
    given = {"request_id": "scored", "max_new_tokens": 1, "logprobs": 1, **fields}
    return GenerateRequest(prompts=prompts, forced=forced, **given)
