"""The engine writes what the equations say: every strategy, rule and sampling, on fakes."""

from hypothesis import given
from hypothesis import strategies as st

from gac.core import FinishReason, GenerateRequest
from gac.decoding.strategies import StrategyMaker
from gac.model.listing import ROW_SIZE
from tests.support.collect import Running
from tests.support.drawn import (
    DEFINITIONS,
    GUARDS,
    SAMPLINGS,
    SCORES,
    drawn_ensemble,
    reference_members,
    reference_noise,
    speculate,
)
from tests.support.examples import examples
from tests.support.fakes import prompt_for
from tests.support.methods import AGGREGATIONS, STRATEGIES, joined, written_by


@examples(300)
@given(
    definitions=st.lists(DEFINITIONS, min_size=1, max_size=3),
    strategy=STRATEGIES,
    aggregation=st.sampled_from(AGGREGATIONS),
    guard=GUARDS,
    sampling=SAMPLINGS,
    rule=st.sampled_from(["canonical", "append"]),
    lead=st.booleans(),
    scores=SCORES,
    sharpness=st.sampled_from([1.0, 3.0]),
    min_new_tokens=st.sampled_from([0, 4]),
    space_bias=st.sampled_from([0.0, 10.0]),
    row_size=st.sampled_from([1, 4, ROW_SIZE]),
    drafter=st.sampled_from([None, "m0", "m1"]),
    twins=st.booleans(),
)
def test_engine_writes_what_the_reference_writes(
    definitions,
    strategy,
    aggregation,
    guard,
    sampling,
    rule,
    lead,
    scores,
    sharpness,
    min_new_tokens,
    space_bias,
    row_size,
    drafter,
    twins,
) -> None:
    """Rows may be short and tokens drafted by a member, whose twin agrees with it: no matter."""
    fakes = drawn_ensemble(
        definitions,
        scores,
        lead,
        twins,
        rule=rule,
        sharpness=sharpness,
        space_bias=space_bias,
        row_size=row_size,
    )
    names, weights = list(fakes.runners), fakes.ensemble.weights
    request = GenerateRequest(
        request_id="r",
        prompts=prompt_for(fakes, "ab a", lead),
        max_new_tokens=12,
        min_new_tokens=min_new_tokens,
        sampling=sampling,
    )
    strategy = joined(strategy, aggregation, guard, sampling.temperature == 0.0)
    tokens, ended = written_by(
        strategy,
        reference_members(fakes, request),
        weights,
        max_new_tokens=12,
        rule=rule,
        sampling=sampling,
        noise=reference_noise(sampling),
        min_new_tokens=min_new_tokens,
    )
    speculation = speculate(drafter, names)
    with Running(fakes.ensemble, StrategyMaker(strategy), None, speculation) as running:
        [written] = running.write([request])
    fakes.close()
    assert written.token_bytes == tokens
    assert written.finish.reason is (FinishReason.STOP if ended else FinishReason.LENGTH)
    assert written.text == b"".join(tokens).decode(errors="replace")
