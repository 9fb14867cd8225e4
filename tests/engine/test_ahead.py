"""Members get ahead of the text: fewer calls, the same text."""

import pytest

from gac.config import EveryStepConfig, ThresholdConfig
from gac.core import GenerateRequest
from gac.decoding.strategies import StrategyMaker
from tests.support.collect import Running, Written
from tests.support.fakes import (
    EagerSpeculation,
    FakeEnsemble,
    byte_level_definition,
    fake_ensemble,
    prompt_for,
    unigram_definition,
)

WORDS = byte_level_definition([" the", " cat", "he", "at"])
PIECES = unigram_definition([*"abcdefghijklmnopqrstuvwxyz", " the", " cat", "ca"])
NUM_TOKENS = 41


def twins(**changes: object) -> FakeEnsemble:
    return fake_ensemble({"a": WORDS, "b": WORDS}, seeds={"a": 0, "b": 0}, **changes)


def write(
    fakes: FakeEnsemble, strategy, drafter: str | None = None, draft_s: float = 1e-9
) -> Written:
    request = GenerateRequest("r", prompt_for(fakes, "the cat"), NUM_TOKENS, ignore_eos=True)
    names = list(fakes.ensemble.members)
    speculation = EagerSpeculation(drafter, 4, names, draft_s) if drafter else None
    with Running(fakes.ensemble, StrategyMaker(strategy), None, speculation) as running:
        [written] = running.write([request])
    fakes.close()
    assert written.finish.completion_tokens == NUM_TOKENS
    return written


def num_calls(fakes: FakeEnsemble, member: str) -> int:
    """Batches that asked this member for rows."""
    return sum(bool(item.positions) for batch in fakes.runners[member].calls for item in batch)


def test_verifiers_of_a_drafter_that_agrees_are_asked_once_a_draft() -> None:
    fakes = twins()
    written = write(fakes, EveryStepConfig(), drafter="a")
    assert num_calls(fakes, "b") == 1 + (NUM_TOKENS - 1) // 5, "a draft of 4, and the pick after"
    plain = twins()
    assert write(plain, EveryStepConfig()).token_bytes == written.token_bytes
    assert num_calls(plain, "b") == NUM_TOKENS
    assert all(event.asked == ("a", "b") for event in written.tokens)


def test_drafts_that_are_never_accepted_are_given_up() -> None:
    weights = {"a": 0.01, "b": 0.99}
    drafted, plain = (fake_ensemble({"a": WORDS, "b": PIECES}, weights=weights) for _ in "12")
    expected = write(plain, EveryStepConfig())
    written = write(drafted, EveryStepConfig(), "a", draft_s=0.3)
    assert written.token_bytes == expected.token_bytes
    assert num_calls(drafted, "b") == NUM_TOKENS, "nothing was gained,"
    assert num_calls(drafted, "a") < 1.6 * NUM_TOKENS, "and little tried in vain"


@pytest.mark.parametrize("threshold", [0.0, 0.2])
def test_sure_gate_goes_on_by_itself(threshold: float) -> None:
    gated = ThresholdConfig(gate="a", threshold=threshold)
    fakes = fake_ensemble({"a": WORDS, "b": PIECES}, sharpness=4.0)
    written = write(fakes, gated)
    sure = sum(event.asked == ("a",) for event in written.tokens)
    batches = [batch for batch in fakes.runners["a"].calls if batch[0].draft is not None]
    assert sure > NUM_TOKENS // 2
    if threshold == 0.0:
        assert sure == NUM_TOKENS
        assert len(batches) == NUM_TOKENS // 9 + 1, "eight tokens ahead, and the row after them"
        assert num_calls(fakes, "b") == 0


def test_nobody_goes_on_at_the_first_token() -> None:
    fakes = twins()
    write(fakes, ThresholdConfig(gate="a", threshold=0.0))
    assert fakes.runners["a"].calls[0][0].draft is None


def test_nobody_drafts_for_those_a_gate_asks() -> None:
    """Their next token is the gate's again, so a draft would be dropped."""
    fakes = fake_ensemble({"a": WORDS, "b": WORDS, "c": WORDS})
    write(fakes, ThresholdConfig(gate="a", threshold=1.0), drafter="b")
    assert num_calls(fakes, "b") == NUM_TOKENS
    assert not any(item.draft for batch in fakes.runners["b"].calls for item in batch)
