"""A member's tokenizer over HTTP, in the shapes of vLLM: clients count and cut prompts with it."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from gac.engine.choice import reference_member
from gac.engine.client_request import check_text
from gac.engine.prompts import check_ids
from gac.engine.service import Service
from gac.errors import RequestError
from gac.model.spelling import detokenized, id_of_special, id_texts
from gac.model.templates import MemberTokenizer
from gac.server.models import ENSEMBLE, members_of
from gac.server.schemas import Message, Schema


class TokenizeBody(Schema):
    """The body of POST /tokenize: either `prompt` or `messages`."""

    model: str | None = None
    prompt: str | None = None
    messages: Annotated[list[Message], Field(fail_fast=True)] | None = None
    add_special_tokens: bool = True
    add_generation_prompt: bool = True
    return_token_strs: bool = False


class TokenizeAnswer(Schema):
    """Ids of one member's tokenizer; `max_model_len` is the most a text may have there."""

    tokens: list[int]
    count: int
    max_model_len: int
    token_strs: list[str] | None = None


class DetokenizeBody(Schema):
    """The body of POST /detokenize."""

    model: str | None = None
    tokens: Annotated[list[int], Field(fail_fast=True)]


class DetokenizeAnswer(Schema):
    """The text that ids spell."""

    prompt: str


def tokenizer_router(service: Service) -> APIRouter:
    """Routes over a service that may still be loading."""
    router = APIRouter()

    @router.post("/tokenize", response_model_exclude_none=True)
    async def tokenize(body: TokenizeBody) -> TokenizeAnswer:
        """Ids of a text, or of a conversation in the member's chat template."""
        return await run_in_threadpool(_tokenize, service, body)

    @router.post("/detokenize")
    async def detokenize(body: DetokenizeBody) -> DetokenizeAnswer:
        """The text of ids, control tokens written out."""
        return await run_in_threadpool(_detokenize, service, body)

    @router.get("/tokenizer_info")
    async def tokenizer_info(model: str | None = None) -> dict[str, Any]:
        """How a member's tokenizer is set up."""
        return _info(service, _tokenizer(service, model))

    return router


def _tokenizer(service: Service, model: str | None) -> MemberTokenizer:
    """That of the reference member of a model.  Raises: ModelNotFound."""
    config = service.config
    all_members = [member.name for member in config.members]
    members = members_of(config, ENSEMBLE if model is None else model) or all_members
    return service.started.tokenizers[reference_member(members, config.strategy)]


def _limit(service: Service, tokenizer: MemberTokenizer) -> int:
    return service.started.ensemble.context_limit(tokenizer.name)


def _tokenize(service: Service, body: TokenizeBody) -> TokenizeAnswer:
    tokenizer = _tokenizer(service, body.model)
    if (body.prompt is None) == (body.messages is None):
        raise RequestError("prompt: give either prompt or messages", param="prompt")
    ids = _ids(tokenizer, body)
    return TokenizeAnswer(
        tokens=ids,
        count=len(ids),
        max_model_len=_limit(service, tokenizer),
        token_strs=id_texts(tokenizer, ids) if body.return_token_strs else None,
    )


def _ids(tokenizer: MemberTokenizer, body: TokenizeBody) -> list[int]:
    """Raises: RequestError if a text is none, or the chat template refuses the conversation."""
    text = body.prompt
    if text is None:
        messages = [message.model_dump() for message in body.messages or ()]
        return list(tokenizer.prompt(messages, True, body.add_generation_prompt).ids)
    check_text("prompt", text)
    # So clients without a tokenizer ask for the ids behind the texts of /tokenizer_info.
    special = None if body.add_special_tokens else id_of_special(tokenizer, text)
    return (
        tokenizer.prompts.encode_text(text, body.add_special_tokens)
        if special is None
        else [special]
    )


def _detokenize(service: Service, body: DetokenizeBody) -> DetokenizeAnswer:
    tokenizer = _tokenizer(service, body.model)
    check_ids(tokenizer, tuple(body.tokens), "tokens")
    return DetokenizeAnswer(prompt=detokenized(tokenizer, body.tokens))


def _info(service: Service, tokenizer: MemberTokenizer) -> dict[str, Any]:
    own = tokenizer.hf_tokenizer
    return {
        "tokenizer_class": type(own).__name__,
        "bos_token": own.bos_token,
        "eos_token": own.eos_token,
        "pad_token": own.pad_token,
        "unk_token": own.unk_token,
        "chat_template": own.chat_template,
        "model_max_length": _limit(service, tokenizer),
        "gac": {
            "member": tokenizer.name,
            "stop_token_ids": sorted(tokenizer.vocabulary.stop_ids),
            "vocab_size": len(tokenizer.vocabulary.token_bytes),
        },
    }
