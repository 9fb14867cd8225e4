"""One member alone writes what its model's own greedy `generate` writes."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from gac.config import EveryStepConfig
from gac.core import FinishReason, GenerateRequest, Prompt
from gac.decoding.strategies import StrategyMaker
from gac.engine.prompts import check_room
from gac.errors import RequestError
from tests.support.collect import Running, Written
from tests.support.oracle import END, Oracle, check_text, tokens_of
from tests.support.real_members import (
    DEFINITIONS,
    TRAINED,
    RealModel,
    Unite,
    real_ensemble,
    real_model,
)

EVERY_STEP = EveryStepConfig()
BYTE_LEVEL = ("llama", "qwen2", "gpt2", "neox", "mistral")
RAW = ("the cat sat on the mat and", "Once upon a time", "日本 é\n\n12", "What is", "a")
CHATS = (
    "hello, how are you?",
    "What is the capital of France?",
    "what is 12 + 7?",
    "Tell me a story about a cat.",
    "👍 <|im_end|> é",
)


def of_member(name: str) -> RealModel:
    if name not in TRAINED and name not in DEFINITIONS:
        pytest.skip(f"the model {name} is not on this machine")
    return real_model(name)


def requests_of(model: RealModel, prompts: Sequence[Prompt], num: int) -> list[GenerateRequest]:
    return [
        GenerateRequest(f"{model.name}-{place}", {model.name: prompt}, num)
        for place, prompt in enumerate(prompts)
    ]


def write_alone(
    model: RealModel, requests: Sequence[GenerateRequest], **bounds: int
) -> tuple[list[Written], Oracle]:
    with real_ensemble([model], **bounds) as ensemble:
        with Running(ensemble, StrategyMaker(EVERY_STEP)) as running:
            written = [running.write([request])[0] for request in requests]
        return written, Oracle(ensemble, {model.name: model}, EVERY_STEP)


def spelled(model: RealModel, ids: Sequence[int], ended: bool) -> list[bytes]:
    tokens = [model.vocabulary.token_bytes[token_id] for token_id in ids]
    return [*tokens, END] if ended else tokens


@pytest.mark.parametrize("name", BYTE_LEVEL)
def test_random_model_alone_equals_generate(name: str) -> None:
    """Exact, id for id: no two ids of these tokenizers share bytes, and there is one stop id."""
    model = of_member(name)
    tokenizer = Tokenizer.from_str(DEFINITIONS[name])
    assert len(model.vocabulary.canonical) + 4 == len(model.vocabulary.token_bytes)
    requests = requests_of(model, [model.prompt(text) for text in RAW], 60)
    written, oracle = write_alone(model, requests)
    for request, one in zip(requests, written, strict=True):
        ids, ended = model.generate(request.prompts[name].ids, 60)
        if oracle.require_same(request, tokens_of(one), spelled(model, ids, ended)):
            assert [model.vocabulary.canonical[token] for token in one.token_bytes] == ids
            assert one.text == tokenizer.decode(ids, skip_special_tokens=False)
            assert one.finish.reason is (FinishReason.STOP if ended else FinishReason.LENGTH)


def test_some_random_models_end_and_others_are_cut_off() -> None:
    """Guards the test above: it sees both ends, texts longer than the window, and many tokens."""
    ends, tokens = set(), set()
    for name in BYTE_LEVEL:
        model = real_model(name)
        for text in RAW:
            ids, ended = model.generate(model.prompt(text).ids, 60)
            ends.add(ended)
            tokens.update(model.vocabulary.token_bytes[token_id] for token_id in ids)
    assert ends == {True, False}
    assert len(tokens) > 40


@pytest.mark.parametrize("name", ["ada", "bora", "cleo", "stories", "chatty"])
def test_trained_model_continues_a_raw_prompt_as_generate_does(name: str) -> None:
    """Exact where `generate` adds up what ids with the same bytes have (`A` and `<0x41>`).

    Nothing is added up for `ada` and `chatty`, whose ids all differ and which have one stop id.
    Elsewhere plain `generate` compares ids one by one; it may pick another token only where the ids
    it does not add up have at least the mass by which its own pick leads.
    """
    model = of_member(name)
    requests = requests_of(model, [model.prompt(text) for text in RAW], 40)
    written, oracle = write_alone(model, requests)
    for request, one in zip(requests, written, strict=True):
        prompt = request.prompts[name].ids
        ids, ended = model.generate(prompt, 40, Unite(model.vocabulary))
        if oracle.require_same(request, tokens_of(one), spelled(model, ids, ended)):
            assert [model.vocabulary.canonical[token] for token in one.token_bytes] == ids
            assert one.text == decoded(model, prompt, ids)
        plain, plainly_ended = model.generate(prompt, 40)
        check_plain(model, prompt, tokens_of(one), spelled(model, plain, plainly_ended))


def decoded(model: RealModel, prompt: Sequence[int], ids: Sequence[int]) -> str:
    """What the tokenizer's own decoder makes of ids behind a prompt."""
    assert model.tokenizer is not None
    decode = model.tokenizer.hf_tokenizer.decode
    before = decode(prompt, skip_special_tokens=True)
    text: str = decode([*prompt, *ids], skip_special_tokens=True)
    assert text.startswith(before)
    return text[len(before) :]


def check_plain(
    model: RealModel, prompt: Sequence[int], got: Sequence[bytes], plain: Sequence[bytes]
) -> None:
    if list(got) == list(plain):
        return
    pairs = zip(got, plain, strict=False)
    same = next(place for place, (one, other) in enumerate(pairs) if one != other)
    own = model.vocabulary
    ids = [own.canonical[token] for token in got[:same]]
    probs = model.probabilities([*prompt, *ids])
    assert same < min(len(got), len(plain))
    best = dict.fromkeys((got[same], plain[same]), 0.0)
    spare = 0.0
    for token_id, token in enumerate(own.token_bytes):
        if token_id in own.masked_ids:
            continue
        best[token] = max(best.get(token, 0.0), probs[token_id])
        spare += probs[token_id]
    spare -= sum(best.values())
    assert spare >= best[plain[same]] - best[got[same]], (got, plain)


@pytest.mark.parametrize("name", ["ada", "bora", "cleo", "chatty"])
def test_trained_model_answers_a_chat_as_generate_does(name: str) -> None:
    """A reply that leads with a dummy space is `generate`'s without that space.

    Its first token cannot always be `generate`'s: it counts ` x`, `x` and a lone space followed by
    `x` as one.  So it is compared with the equation (by the reference, on fresh passes); it must be
    `generate`'s where that one has more than half of the mass.  What follows must then be exactly
    what `generate` writes after the ids of a dummy space and that token.
    """
    model = of_member(name)
    requests = requests_of(model, [model.prompt(text, True) for text in CHATS], 40)
    written, oracle = write_alone(model, requests)
    for request, one in zip(requests, written, strict=True):
        check_text(one)
        prompt, got = request.prompts[name], tokens_of(one)
        check_first_token(model, prompt, got[0])
        first, taken = [], list(prompt.ids)
        if prompt.lead:
            if not oracle.require_same(request, got[:1], oracle.tokens(request)[:1]):
                continue
            if got[0] == END:
                continue
            first = got[:1]
            taken += ids_with_dummy_space(model, got[0])
        ids, ended = model.generate(taken, 40 - len(first), Unite(model.vocabulary))
        oracle.require_same(request, got, [*first, *spelled(model, ids, ended)])


def check_first_token(model: RealModel, prompt: Prompt, first: bytes) -> None:
    """It is that of `generate`, without its dummy space, where that one is more than likely."""
    [ids, ended] = model.generate(prompt.ids, 1, Unite(model.vocabulary))
    if ended or model.probabilities(prompt.ids)[ids[0]] <= 0.5:
        return
    token = model.vocabulary.token_bytes[ids[0]]
    if not prompt.lead:
        assert first == token
    elif token != b" ":
        assert first == token.removeprefix(b" ")


def ids_with_dummy_space(model: RealModel, token: bytes) -> list[int]:
    own = model.vocabulary.canonical.get(b" " + token)
    return model.vocabulary.encoder.encode(b" " + token) if own is None else [own]


@pytest.mark.slow
def test_stories_end_with_their_bos_and_begin_as_is_known() -> None:
    """The text is what llama2.c's own test expects of these weights."""
    model = of_member("stories")
    assert model.vocabulary.stop_ids == {1, 2}
    [request] = requests_of(model, [model.prompt("Once upon a time")], 450)
    [written], oracle = write_alone(model, [request])
    assert written.text.startswith(
        ", there was a little girl named Lily. She loved to play outside in the park. "
        "One day, she saw a big, red ball. She wanted to play with it, but it was too high.\n"
        "Lily's mom said, \"Lily, let's go to the park.\""
    )
    ids, ended = model.generate(request.prompts["stories"].ids, 450, Unite(model.vocabulary))
    assert oracle.require_same(request, tokens_of(written), spelled(model, ids, ended))
    assert ended and written.finish.reason is FinishReason.STOP


@pytest.mark.parametrize("room", [1, 2, 30])
def test_hard_context_limit_ends_with_length(room: int) -> None:
    """GPT-Neo has 256 positions and fails at one more; `generate` is told to stop there."""
    model = of_member("chatty")
    start = model.prompt("Once upon a time there was a cat. " * 40).ids[: 256 - room]
    requests = requests_of(model, [Prompt(start)], 100)
    [written], oracle = write_alone(model, requests)
    ids, ended = model.generate(start, room, Unite(model.vocabulary))
    assert oracle.require_same(requests[0], tokens_of(written), spelled(model, ids, ended))
    if not ended:
        assert written.finish.reason is FinishReason.LENGTH
        assert written.finish.completion_tokens == room


def test_prompt_that_is_too_long_is_refused_by_name() -> None:
    model = of_member("chatty")
    with real_ensemble([model, real_model("llama")]) as ensemble:
        for length in (255, 256, 300):
            prompts = {"llama": Prompt((1,) * 300), "chatty": Prompt((5,) * length)}
            if length < 256:
                check_room(ensemble, prompts, None)
                continue
            with pytest.raises(RequestError, match="'chatty', whose context holds 256") as refused:
                check_room(ensemble, prompts, None)
            assert refused.value.code == "context_length_exceeded"


def test_lists_of_models_are_up_to_date() -> None:
    """The demonstration models belong to the project: a missing one is no reason to skip."""
    for name in ("ada", "bora", "cleo"):
        assert name in TRAINED, f"{Path('demo/models') / name} is missing"
