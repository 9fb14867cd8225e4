"""Forced tokens go through the strategy as if they had been picked."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gac.core import FinishReason, Forced, GenerateRequest, Sampling
from gac.decoding.strategies import StrategyMaker
from tests.support.collect import Running, Written
from tests.support.examples import examples
from tests.support.fakes import FakeEnsemble
from tests.support.trios import (
    AGGREGATED,
    EVERY_STEP,
    GATED,
    GUARDED,
    REPLACED,
    TRIOS,
    TWINS,
    VERIFIED,
    Trio,
    request_of,
)

SPECS = st.fixed_dictionaries(
    {
        "prompt": st.text("the cat\n", min_size=1, max_size=30),
        "lead": st.booleans(),
        "max_new_tokens": st.integers(1, 40),
        "max_length": st.sampled_from([None, None, 60]),
        "min_new_tokens": st.sampled_from([0, 0, 3]),
        "ignore_eos": st.booleans(),
    }
)
GREEDY = [EVERY_STEP, GATED, REPLACED, *AGGREGATED[:-1], GUARDED]


def write(fakes: FakeEnsemble, strategy: Any, *requests: GenerateRequest) -> list[Written]:
    with Running(fakes.ensemble, StrategyMaker(strategy)) as running:
        return running.write(requests)


def forcing(request: GenerateRequest, tokens: tuple[int, ...], num_new: int) -> GenerateRequest:
    """Scores union tokens, owned as decided; END is possible at every place."""
    return replace(
        request,
        request_id="forced",
        forced=Forced(tokens),
        max_new_tokens=num_new,
        min_new_tokens=0,
        ignore_eos=False,
    )


def check(strategy: Any, trio: Trio, spec: dict[str, Any], num_new: int = 1) -> None:
    """What was written, forced: its own choices, as likely as when they were made."""
    fakes = trio.members()
    request = replace(request_of(fakes, spec, "free"), logprobs=3)
    request = replace(request, min_new_tokens=0, ignore_eos=False)
    [free] = write(fakes, strategy, request)
    tokens = tuple(event.pick.token for event in free.tokens)
    ended = num_new > 0 and free.finish.reason is FinishReason.STOP
    [forced] = write(fakes, strategy, forcing(request, tokens, int(ended)))
    fakes.close()
    assert forced.token_bytes == free.token_bytes
    for one, other in zip(free.tokens, forced.tokens, strict=True):
        assert one.likelihood == other.likelihood
        assert (one.pick, one.asked) == (other.pick, other.asked)
        assert other.likelihood is not None
    if ended:
        assert forced.finish.likelihood == free.finish.likelihood
    assert forced.finish.completion_tokens == forced.finish.ensembled_tokens == 0


@pytest.mark.parametrize("strategy", GREEDY, ids=repr)
@examples(60)
@given(spec=SPECS, name=st.sampled_from([*TRIOS]))
def test_what_was_written_greedily_is_scored_as_it_was_chosen(
    strategy: Any, spec: dict[str, Any], name: str
) -> None:
    check(strategy, TRIOS[name], spec)


@pytest.mark.parametrize("strategy", VERIFIED, ids=repr)
@examples(60)
@given(spec=SPECS)
def test_what_safe_wrote_greedily_is_scored_as_it_was_chosen(
    strategy: Any, spec: dict[str, Any]
) -> None:
    check(strategy, TWINS, spec)


def test_mixture_scores_by_the_members_it_drew() -> None:
    """What follows is drawn anew, as if nothing had been forced."""
    spec = {"prompt": "the cat", "lead": False, "max_new_tokens": 30}
    sampled = {**spec, "sampling": Sampling(1.0, seed=4)}
    check(AGGREGATED[-1], TRIOS["unrelated"], sampled, num_new=0)
