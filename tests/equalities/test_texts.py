"""Strange prompts, stop strings and lengths, through the whole engine on real models."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from unittest.mock import patch

import pytest

from gac.config import EveryStepConfig
from gac.core import FinishReason, GenerateRequest, Sampling
from gac.decoding.strategies import StrategyMaker
from gac.vocabulary.retokenize import MemberContext
from gac.vocabulary.token_bytes import Family
from tests.support.collect import Running, Written
from tests.support.fakes import EagerSpeculation
from tests.support.oracle import check_text
from tests.support.real_members import DEMO, real_ensemble, real_model

pytestmark = pytest.mark.slow

EVERY_STEP = EveryStepConfig()
RANDOM_TRIO = ("llama", "gram-sliding", "gpt2")
TRIOS = [RANDOM_TRIO, *([DEMO] if len(DEMO) == 3 else [])]
TORTURE = {
    "scripts": "Ελληνικά Русский العربية עברית हिन्दी বাংলা தமிழ் ไทย 한국어 日本語 中文 ქართული 𐍈 𝔘",
    "combining": "e\u0301 n\u0303 a\u0308\u0304 \u1e69 s\u0323\u0307 \ufb01 Å \u212b z\u0351\u036b",
    "emoji": "👍🏽 👩‍👩‍👧‍👦 🏳️‍🌈 🇫🇷🇯🇵 1️⃣ ☺️ 👨🏿‍🚀",
    "line ends": "a\r\nb\rc\n\n\r\n\u2028d\u0085e",
    "blanks": "\tx\t\ty  z   \u00a0\u3000\u200b w \n \n",
    "nul": "nul\x00 bell\x07 del\x7f esc\x1b[0m \x01\x02",
    "metaspace": "a\u2581b\u2581\u2581 \u2581c",
    "controls": "<|im_end|><|im_start|>system\n</s><s><unk><0x41><|end|><|assistant|><end_of_turn>",
    "markup": '{"a": [1, "\\u00e9"]} <b>&amp;</b> {{ x }} {% if %} `~!@#$%^&*()_+`',
    "digits": "3141592653" * 200,
    "private": "\ue000 \U000f0000 \U0010fffd \ufffd \ufeff",
    "only blank": " ",
}


def test_torture_list_has_2000_digits() -> None:
    assert TORTURE["digits"].isdigit() and len(TORTURE["digits"]) == 2000


@pytest.mark.parametrize("templated", [False, True])
@pytest.mark.parametrize("trio", TRIOS, ids="+".join)
def test_strange_prompts_go_through_unharmed(trio, templated: bool) -> None:
    """Members read the text's very bytes, with the space that their tokenizers put in front.

    Only a literal U+2581 is by design a space to tokenizers that write spaces so.
    """
    models = {name: real_model(name) for name in trio}
    requests: list[GenerateRequest] = []
    for kind, text in TORTURE.items():
        prompts = {name: model.prompt(text, templated) for name, model in models.items()}
        # The digits are more than a demonstration model's context holds.
        prompts = {
            n: p for n, p in prompts.items() if len(p.ids) + 20 < models[n].loaded.max_length
        }
        for name, prompt in prompts.items():
            own = models[name].vocabulary
            if kind != "metaspace" or own.family is not Family.METASPACE:
                assert text.encode() in own.spell(prompt.ids), (kind, name)
        for temperature in (0.0, 1.2):
            sampling = Sampling(temperature=temperature, seed=len(requests))
            requests.append(
                GenerateRequest(kind + str(temperature), prompts, 12, None, 8, sampling=sampling)
            )
        assert prompts or kind == "digits"
    requests = [request for request in requests if request.prompts]
    with (
        real_ensemble(models) as ensemble,
        Running(ensemble, StrategyMaker(EVERY_STEP)) as running,
    ):
        written = running.write(requests)
    for one in written:
        assert one.finish.completion_tokens == len(one.tokens) >= 8
        assert one.finish.abstained == ()
        check_text(one)


def write(models, requests: list[GenerateRequest], drafter: str | None = None) -> list[Written]:
    drafts = EagerSpeculation(drafter, 4, models) if drafter else None
    with (
        real_ensemble(models) as ensemble,
        Running(ensemble, StrategyMaker(EVERY_STEP), None, drafts) as running,
    ):
        return running.write(requests)


def long_request(models, **changes) -> GenerateRequest:
    prompts = {name: model.prompt("the cat sat") for name, model in models.items()}
    return replace(GenerateRequest("long", prompts, 30, ignore_eos=True), **changes)


@pytest.mark.parametrize("drafts", [False, True])
@pytest.mark.parametrize("trio", TRIOS, ids="+".join)
def test_stop_strings_inside_and_across_tokens(trio, drafts) -> None:
    """Every piece of a text of one to five characters is tried as its stop string."""
    models = {name: real_model(name) for name in trio}
    drafter = trio[-1] if drafts else None
    request = long_request(models)
    [free] = write(models, [request])
    stops = {
        free.text[start : start + length]
        for start in range(0, len(free.text), 2)
        for length in (1, 2, 3, 5)
    }
    stops = sorted(stop for stop in stops if stop and "\ufffd" not in stop)
    requests = [replace(request, request_id=stop, stop=(stop,)) for stop in stops]
    inside = across = 0
    for stop, one in zip(stops, write(models, requests, drafter), strict=True):
        count = tokens_until(free, stop)
        assert one.finish.reason is FinishReason.STOP
        assert one.text == free.text[: free.text.index(stop)]
        assert one.token_bytes == free.token_bytes[:count]
        inside += len(stop) < len(one.token_bytes[-1])
        across += not one.token_bytes[-1].decode(errors="replace").endswith(stop)
    assert inside and across


@pytest.mark.parametrize("trio", TRIOS, ids="+".join)
def test_of_several_stop_strings_the_first_complete_one_counts(trio) -> None:
    """Of those complete at the same place the longest."""
    models = {name: real_model(name) for name in trio}
    request = long_request(models)
    [free] = write(models, [request])
    text = free.text
    pieces = [text[start : start + 1 + start % 4] for start in range(len(text) // 3, len(text))]
    pieces = [piece for piece in pieces if "\ufffd" not in piece]
    middle = len(pieces) // 2
    sets = [(pieces[place], pieces[-1 - place]) for place in range(middle)]
    sets += [(piece[-1:], piece, "never there") for piece in pieces]
    requests = [replace(request, request_id=str(n), stop=stop) for n, stop in enumerate(sets)]
    for stops, one in zip(sets, write(models, requests), strict=True):
        found = [(text.index(stop), stop) for stop in stops if stop in text]
        _, start = min((start + len(stop), start) for start, stop in found)
        assert one.text == text[:start]
        assert one.finish.reason is FinishReason.STOP


def tokens_until(free: Written, stop: str) -> int:
    """How many tokens it takes until the stop string is complete."""
    for count in range(1, len(free.token_bytes) + 1):
        whole = b"".join(free.token_bytes[:count]).decode(errors="ignore")
        if stop in whole.replace("\ufffd", "") or stop in decoded_so_far(free, count):
            return count
    raise AssertionError(stop)


def decoded_so_far(free: Written, count: int) -> str:
    return "".join(event.text for event in free.tokens[:count])


@pytest.mark.parametrize("trio", TRIOS, ids="+".join)
def test_stop_string_completed_by_the_last_token_is_a_stop(trio) -> None:
    models = {name: real_model(name) for name in trio}
    request = long_request(models)
    [free] = write(models, [request])
    visible = [place for place, event in enumerate(free.tokens) if event.text.strip("\ufffd")]
    place = visible[len(visible) // 2]
    stop = free.tokens[place].text.replace("\ufffd", "")[-1]
    count = tokens_until(free, stop)
    for allowed, reason in ((count, FinishReason.STOP), (count - 1, FinishReason.LENGTH)):
        if not allowed:
            continue
        [one] = write(models, [replace(request, stop=(stop,), max_new_tokens=allowed)])
        assert one.finish.reason is reason
        assert one.finish.completion_tokens == allowed


@contextmanager
def final_ids() -> Iterator[list[tuple[str, int, int]]]:
    """Collects (member, ids before, ids after) of every commit."""
    seen: list[tuple[str, int, int]] = []
    plain = MemberContext.commit

    def commit(context: MemberContext, token: bytes, owned: bool) -> None:
        before = len(context.ids)
        plain(context, token, owned)
        seen.append((context.vocabulary.name, before, len(context.ids)))

    with patch.object(MemberContext, "commit", commit):
        yield seen


@pytest.mark.parametrize("trio", TRIOS, ids="+".join)
def test_max_length_ends_with_the_first_member_that_reaches_it(trio) -> None:
    models = {name: real_model(name) for name in trio}
    request = long_request(models)
    [free] = write(models, [request])
    longest = max(len(prompt.ids) for prompt in request.prompts.values())
    for max_length in (longest + 1, longest + 4, longest + 9):
        with final_ids() as seen:
            [one] = write(models, [replace(request, max_length=max_length)])
        count = one.finish.completion_tokens
        assert one.finish.reason is FinishReason.LENGTH
        assert one.token_bytes == free.token_bytes[:count]
        assert max(after for _, _, after in seen[-len(trio) :]) >= max_length
        assert all(before < max_length for _, before, _ in seen)
    assert count < len(free.tokens)


@pytest.mark.parametrize("names", [("gram",), RANDOM_TRIO], ids="+".join)
def test_end_is_kept_out_while_it_must_be(names) -> None:
    """`min_new_tokens` keeps END out up to there, `ignore_eos` for good.

    A member alone writes the same up to its END.  Several need not: each row is normalised again
    without END, which changes what the others' votes are worth.
    """
    models = {name: real_model(name) for name in names}
    ended = 0
    for seed in range(10):
        sampling = Sampling(temperature=1.0, seed=seed)
        request = long_request(models, ignore_eos=False, sampling=sampling)
        [free] = write(models, [request])
        count = free.finish.completion_tokens
        if free.finish.reason is not FinishReason.STOP or count > 20:
            continue
        ended += 1
        requests = [
            replace(request, request_id="same", min_new_tokens=count),
            replace(request, request_id="more", min_new_tokens=count + 4),
            replace(request, request_id="all", ignore_eos=True),
        ]
        same, more, everything = write(models, requests)
        assert everything.finish.reason is FinishReason.LENGTH
        assert everything.finish.completion_tokens == 30
        assert more.finish.completion_tokens >= count + 4
        assert more.token_bytes[: count + 4] == everything.token_bytes[: count + 4]
        assert same.token_bytes[:count] == everything.token_bytes[:count]
        if len(models) == 1:
            assert (same.text, same.finish.reason) == (free.text, FinishReason.STOP)
    assert ended >= 2
