"""The one way in: what a client asks for, checked, rendered and encoded.

HTTP, the command line, replay, benchmarks and tests all make a `ClientRequest`, and get from
`prepare` one `GenerateRequest` for each text.
"""

from collections.abc import Mapping
from dataclasses import replace

from gac.config import Config
from gac.core import Forced, GenerateRequest, Prompt
from gac.engine.biases import penalties_of
from gac.engine.choice import Choice, choose
from gac.engine.client_request import ClientRequest, check_values
from gac.engine.echo import ids_of, split
from gac.engine.names import new_name, text_name
from gac.engine.prompts import build_prompts, check_ids, check_room, is_ids, prompts_of_ids
from gac.engine.startup import Started
from gac.errors import RequestError
from gac.model.templates import MemberTokenizer


def check_limits(config: Config, request: ClientRequest) -> None:
    """Check a request against the limits of this server, which is cheap.

    Raises: RequestError naming the field.
    """
    limit = config.engine.max_new_tokens_limit
    if request.max_new_tokens > limit:
        raise RequestError(
            f"max_new_tokens {request.max_new_tokens} exceeds this server's limit of {limit}",
            param="max_new_tokens",
        )
    limit = config.server.max_conversations
    if request.num_texts > limit:
        count = f"messages_list holds {len(request.messages_list)} conversations"
        count += f", with n {request.n} that is {request.num_texts}" if request.n > 1 else ""
        raise RequestError(
            f"{count}, this server's limit is {limit}",
            param="messages_list" if len(request.messages_list) > limit else "n",
        )


def prepare(
    config: Config, started: Started, request: ClientRequest, batch: str | None = None
) -> list[GenerateRequest]:
    """One request of the engine for each text: the `n` choices of the first entry, and so on.

    `batch` names them all in the engine and in logs, where one is drawn if it is not given.
    Renders and encodes every prompt, so it belongs on a worker thread.  The limits of the server
    are checked by `check_limits`, not here.
    Raises: RequestError naming the field that is wrong.
    """
    check_values(request)
    choice = choose(config, request.wishes, request.sampling())
    tokenizers = {name: started.tokenizers[name] for name in choice.members}
    penalties = penalties_of(request, choice.reference, started.ensemble.union)
    batch = batch or new_name()
    prepared: list[GenerateRequest] = []
    for place in range(len(request.messages_list)):
        prompts, forced = _read(started, tokenizers, choice.reference, request, place)
        first = request.sampling()
        for number in range(request.n):
            request_id = text_name(batch, len(prepared))
            sampling = replace(first, choice=number)
            text = _one_text(request_id, request, choice, prompts, forced)
            prepared.append(replace(text, sampling=sampling, penalties=penalties))
    return prepared


def _read(
    started: Started,
    tokenizers: Mapping[str, MemberTokenizer],
    reference: str,
    request: ClientRequest,
    place: int,
) -> tuple[Mapping[str, Prompt], Forced]:
    """What every member reads of an entry, and what of it is forced because it is scored."""
    entry, forced = request.messages_list[place], Forced()
    if is_ids(entry):
        check_ids(tokenizers[reference], entry, f"messages_list[{place}]")
    if request.scores_prompts:
        ids = ids_of(tokenizers[reference], entry)
        prompts, forced = split(tokenizers, ids, reference, started.ensemble.union)
        whole = prompts_of_ids(tokenizers, ids, reference)
    else:
        whole = prompts = build_prompts(tokenizers, entry, request.apply_chat_template, reference)
    check_room(started.ensemble, whole, request.max_length, min(1, request.max_new_tokens))
    return prompts, forced


def _one_text(
    request_id: str,
    request: ClientRequest,
    choice: Choice,
    prompts: Mapping[str, Prompt],
    forced: Forced,
) -> GenerateRequest:
    return GenerateRequest(
        request_id=request_id,
        prompts=prompts,
        max_new_tokens=request.max_new_tokens,
        max_length=request.max_length,
        min_new_tokens=request.min_new_tokens,
        ignore_eos=request.ignore_eos,
        stop=tuple(request.until),
        strategy=choice.strategy,
        weights=choice.weights,
        trace=request.trace,
        logprobs=request.logprobs,
        forced=forced,
    )
