"""Scoring by one member alone is its model's own log-softmax, at every place, in a few passes."""

import math
from collections.abc import Sequence

import pytest
import torch

from gac.core import FinishReason
from gac.decoding.strategies import StrategyMaker
from tests.equalities.test_one_member import BYTE_LEVEL, EVERY_STEP, of_member
from tests.support.collect import Running, Written
from tests.support.forcing import scoring, tokenizer_of
from tests.support.real_members import RealModel, real_ensemble

CLOSE = 2e-4
TEXTS = (
    "the cat sat on the mat and the hen ate. ",
    "Once upon a time there was 日本 é\n\n12 and\tThe end",
    " the",
    "a",
)
LONG = "the cat sat on the mat, and she off to sea with team tea. He had 12 hens\n\n" * 4
WITH_METASPACE = ("gram", "gram-sliding", "bora", "cleo", "stories")
ALL = (*BYTE_LEVEL, *WITH_METASPACE, "ada", "chatty")


def log_softmax(model: RealModel, ids: Sequence[int]) -> list[list[float]]:
    """The oracle: log-probabilities [Vm] after each id, over what may be written.

    Ids that share bytes are one token here, and ids without bytes have no probability, stop ids
    aside; a model whose head says otherwise is scored so, too.
    """
    with torch.inference_mode():
        logits = model.loaded.model(input_ids=torch.tensor([list(ids)]), use_cache=False).logits
    logits = logits[0].double()
    logits[:, sorted(model.vocabulary.masked_ids)] = -torch.inf
    groups: dict[bytes, list[int]] = {}
    for own, token in enumerate(model.vocabulary.token_bytes):
        groups.setdefault(token if own not in model.vocabulary.stop_ids else b"", []).append(own)
    united = logits.log_softmax(1)
    for same in groups.values():
        if len(same) > 1:
            united[:, same] = united[:, same].logsumexp(1, keepdim=True)
    rows: list[list[float]] = united.tolist()
    return rows


def score(
    model: RealModel, prompts: Sequence[tuple[int, ...]], **fields: int
) -> tuple[list[Written], int]:
    """What was told of these ids, and how many passes it took."""
    tokenizers = {model.name: tokenizer_of(model)}
    with real_ensemble([model]) as ensemble:
        requests = [
            scoring(ensemble, tokenizers, ids, model.name, request_id=str(place), **fields)
            for place, ids in enumerate(prompts)
        ]
        with Running(ensemble, StrategyMaker(EVERY_STEP)) as running:
            written = running.write(requests)
            passes = running.engine.metrics.members[model.name].batches
    return written, passes


def check(model: RealModel, ids: tuple[int, ...], written: Written, num_new: int) -> None:
    rows = log_softmax(model, ids)
    vocabulary = model.vocabulary
    controls = [n for n, own in enumerate(ids) if not vocabulary.token_bytes[own]]
    num_read = max(controls, default=0) + 1
    scored = written.tokens[: len(ids) - num_read]
    assert [event.token_bytes for event in scored] == [
        vocabulary.token_bytes[own] for own in ids[num_read:]
    ]
    for place, event in enumerate(scored, num_read):
        assert event.likelihood is not None
        row = rows[place - 1]
        assert math.log(event.likelihood.probability) == pytest.approx(row[ids[place]], abs=CLOSE)
        [top] = event.likelihood.top
        assert math.log(top.probability) == pytest.approx(max(row), abs=CLOSE)
    assert written.finish.completion_tokens <= num_new
    assert written.finish.prompt_tokens == {model.name: len(ids)}


@pytest.mark.parametrize("name", ALL)
def test_scores_are_the_models_own(name: str) -> None:
    model = of_member(name)
    [stop, *_] = sorted(model.vocabulary.stop_ids)
    bare = [tuple(model.prompts.encode_text(text)) for text in TEXTS]
    prompts = [*bare, *((stop, *ids) for ids in bare)]
    written, _ = score(model, prompts)
    for ids, one in zip(prompts, written, strict=True):
        check(model, ids, one, 1)


@pytest.mark.parametrize("name", ["llama", "gram", "bora", "ada"])
def test_long_prompts_take_few_passes(name: str) -> None:
    model = of_member(name)
    ids = tuple(model.prompts.encode_text(LONG))[:300]
    [written], passes = score(model, [ids])
    check(model, ids, written, 1)
    assert len(ids) > 100
    assert passes <= 3 + len(ids) / 64


@pytest.mark.parametrize("name", ["llama", "gram"])
def test_without_new_tokens_it_ends_at_once(name: str) -> None:
    model = of_member(name)
    ids = tuple(model.prompts.encode_text(TEXTS[0]))
    [written], _ = score(model, [ids], max_new_tokens=0)
    check(model, ids, written, 0)
    assert written.finish.reason is FinishReason.LENGTH
    [written], passes = score(model, [ids[:1]], max_new_tokens=0)
    assert (written.tokens, written.text, passes) == ([], "", 0)
    assert written.finish.reason is FinishReason.LENGTH
