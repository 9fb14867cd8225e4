"""Likelihoods are the equations' own, and to ask for them changes no text."""

import math
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gac.config import EveryStepConfig, MixtureConfig, SafeConfig, ThresholdConfig
from gac.core import FinishReason, Likelihood, Sampling
from gac.decoding.strategies import StrategyMaker
from gac.model.listing import ROW_SIZE
from gac.trace import Outcome
from tests.support import reference
from tests.support.collect import Running
from tests.support.drawn import (
    DEFINITIONS,
    GUARDS,
    SAMPLINGS,
    reference_members,
)
from tests.support.drawn_case import NUM_TOKENS, PLAIN_CASE, DrawnCase, told_nothing
from tests.support.examples import examples
from tests.support.fakes import byte_level_definition
from tests.support.methods import AGGREGATIONS, STRATEGIES, aggregate_of
from tests.support.reference import Distribution
from tests.support.reference_safe import Safe

NEAR = 3e-6
"""What float32 rows are off by."""
BASE = {
    **PLAIN_CASE,
    "definitions": [byte_level_definition([" a", "ba", "ab"]), byte_level_definition(["ab"])],
    "strategy": EveryStepConfig(),
    "count": 5,
    "stop": (),
}
DRAWN = {
    "definitions": st.lists(DEFINITIONS, min_size=1, max_size=3),
    "strategy": STRATEGIES,
    "aggregation": st.sampled_from(AGGREGATIONS),
    "guard": GUARDS,
    "sampling": st.one_of(st.just(Sampling()), SAMPLINGS),
    "scores": st.lists(st.sampled_from([0, 1, 1, 2, 5]), min_size=3, max_size=3),
    "sharpness": st.sampled_from([1.0, 3.0, 5.0]),
    "min_new_tokens": st.sampled_from([0, 4]),
    "row_size": st.sampled_from([1, 8, ROW_SIZE]),
    "lead": st.booleans(),
    "near": st.booleans(),
    "drafter": st.sampled_from([None, None, "m0"]),
    "count": st.sampled_from([0, 1, 5, 20]),
    "stop": st.sampled_from([(), (), ("a",), ("b ", "é")]),
}


def combined(case: DrawnCase, weights, rows) -> Distribution:
    """What these rows combine to by the equations, summing to 1."""
    shares = reference.shares_of(rows, weights)
    voting = {name: rows[name] for name in sorted(rows) if shares[name] > 0.0}
    if len(voting) == 1:
        [row] = voting.values()
        return row
    aggregate = aggregate_of(case.strategy)
    if isinstance(case.strategy, SafeConfig):
        aggregate = Safe(case.strategy, {}, weights, 0, aggregate=aggregate).sharpened
    values, _ = aggregate(voting, shares)
    total = math.fsum(values.values())
    if case.strategy.is_normalised:
        assert total == pytest.approx(1.0, abs=NEAR)
    return {token: value / total for token, value in values.items()}


def check(likelihood: Likelihood | None, token: bytes, expected: Distribution, count: int) -> None:
    assert likelihood is not None
    assert likelihood.probability == pytest.approx(expected.get(token, 0.0), abs=NEAR)
    ranked = sorted(expected.items(), key=lambda item: (-item[1], item[0]))[:count]
    best = [(token, value) for token, value in ranked if value > 0.0]
    assert [c.probability for c in likelihood.top] == pytest.approx([p for _, p in best], abs=NEAR)
    for candidate, (expected_token, value) in zip(likelihood.top, best, strict=True):
        rivals = [p for t, p in expected.items() if t != expected_token]
        if min((abs(p - value) for p in rivals), default=1.0) > NEAR:
            assert candidate.token == expected_token
        assert expected[candidate.token] == pytest.approx(candidate.probability, abs=NEAR)
    listed = {c.token: c.probability for c in likelihood.top}
    assert listed.get(token, likelihood.probability) == likelihood.probability


def check_case(seen: Counter[str], count: int, **drawn) -> None:
    case = DrawnCase(**drawn)
    told, untold = case.write(logprobs=count, trace=1), case.write()
    assert told_nothing(told) == told_nothing(untold)
    assert {(e.likelihood, e.num_shown) for e in [*untold.tokens, untold.finish]} == {(None, 0)}
    fakes = case.ensemble()
    weights, members = fakes.ensemble.weights, reference_members(fakes, case.request(fakes))
    text: list[bytes] = []
    for event in [*told.tokens, *([told.finish] if told.finish.trace else [])]:
        token = getattr(event, "token_bytes", b"")
        must = len(text) < case.made["min_new_tokens"]
        heard = [one.member for one in event.trace.members]
        if event.trace.outcome is Outcome.DRAFTED:
            heard = [case.strategy.drafter]
        rows = {
            name: reference._going_on(members[name].distribution(b"".join(text)), must)
            for name in heard
        }
        check(event.likelihood, token, combined(case, weights, rows), count)
        seen[event.trace.outcome] += 1
        seen["end"] += not token
        if token:
            for name, member in members.items():
                member.follow(b"".join(text), token, name in event.pick.owners, "canonical")
            text.append(token)
    if told.finish.trace is None:
        assert told.finish.likelihood is None
    fakes.close()


def test_likelihoods_are_what_the_equations_say_and_change_nothing() -> None:
    seen: Counter[str] = Counter()

    @examples(50)
    @example(**BASE)
    @example(**{**BASE, "strategy": SafeConfig(drafter="m0", consensus=0.1), "row_size": 1})
    @example(**{**BASE, "strategy": SafeConfig(drafter="m0"), "near": False})
    @example(**{**BASE, "strategy": ThresholdConfig(gate="m0", threshold=0.2), "near": False})
    @example(**{**BASE, "strategy": MixtureConfig(), "lead": True})
    @given(**DRAWN)
    def check_all(**drawn) -> None:
        check_case(seen, **drawn)

    check_all()
    print(seen)
    assert {*Outcome, "end"} <= set(seen)


@pytest.mark.parametrize("count", [0, 1, 20])
def test_greedy_pick_is_the_first_of_the_best(count: int) -> None:
    written = DrawnCase(**{key: value for key, value in BASE.items() if key != "count"}).write(
        logprobs=count
    )
    assert written.finish.reason is FinishReason.LENGTH
    for event in written.tokens:
        assert event.likelihood is not None
        best = [(event.token_bytes, event.likelihood.probability)] if count else []
        assert [(c.token, c.probability) for c in event.likelihood.top[:1]] == best
        assert len(event.likelihood.top) == count


def test_short_rows_stay_short_where_they_tell_enough() -> None:
    """With 64 entries of one member, nothing is asked for again; of several, some entries are."""
    for definitions, count in ((BASE["definitions"][:1], 20), (BASE["definitions"], 5)):
        drawn = {**BASE, "definitions": definitions, "row_size": ROW_SIZE, "near": False}
        del drawn["count"]
        case = DrawnCase(**drawn)
        fakes = case.ensemble()
        request = case.request(fakes, logprobs=count)
        with Running(fakes.ensemble, StrategyMaker(case.strategy)) as running:
            [written] = running.write([request])
            metrics = running.engine.metrics
        asked = [item for one in fakes.runners.values() for call in one.calls for item in call]
        fakes.close()
        assert len(written.tokens) == NUM_TOKENS
        assert not any(item.dense for item in asked)
        assert metrics.dense == 0
        assert (metrics.completed > 0) is (len(definitions) > 1)
