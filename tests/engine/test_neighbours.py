"""A neighbour changes nothing: batches, arrival, aborts, evictions, chunks, members' order.

Nor do drafts and short rows: what is written alone, with all entries and without speculation, is
what must be written in any company.
"""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gac.config import (
    ThresholdConfig,
)
from gac.core import FinishReason, Sampling
from gac.decoding.strategies import StrategyMaker
from gac.engine.limits import EngineLimits
from gac.model.listing import ROW_SIZE
from tests.support.collect import Running
from tests.support.examples import examples
from tests.support.fakes import (
    EagerSpeculation,
    fake_ensemble,
)
from tests.support.trios import (
    AGGREGATED,
    DEFINITIONS,
    DRAFTED,
    EVERY_STEP,
    GATED,
    GUARDED,
    LONG,
    REPLACED,
    SPECS,
    STRATEGIES,
    TRIOS,
    VERIFIED,
    alone,
    members,
    request_of,
    said,
)


@examples(40)
@given(
    specs=st.lists(SPECS, min_size=2, max_size=8),
    strategy=STRATEGIES,
    max_sequences=st.sampled_from([1, 3, 16]),
    max_batch_tokens=st.sampled_from([1, 7, 2048]),
    kv_tokens=st.sampled_from([140, 300, 100_000]),
    aborted=st.sets(st.integers(0, 7)),
)
def test_request_in_a_busy_batch_equals_the_request_alone(
    specs, strategy, max_sequences, max_batch_tokens, kv_tokens, aborted
) -> None:
    fakes = members(max_kv_tokens=kv_tokens)
    limits = EngineLimits(max_sequences=max_sequences, max_batch_tokens=max_batch_tokens)
    with Running(fakes.ensemble, StrategyMaker(strategy), limits) as running:
        written = []
        for place, spec in enumerate(specs):
            written += running.submit([request_of(fakes, spec, str(place))])
            if place in aborted:
                running.engine.abort(str(place))
        for one in written:
            assert one.done.wait(60), "the engine hangs"
    assert running.engine.num_running == running.engine.num_waiting == 0
    fakes.close()
    for place, (spec, one) in enumerate(zip(specs, written, strict=True)):
        other = alone(spec, strategy)
        if one.finish.reason is FinishReason.ABORT:
            assert place in aborted
            assert one.token_bytes == other.token_bytes[: len(one.token_bytes)]
            assert other.text.startswith(one.text) or "\ufffd" in one.text
        else:
            assert said(one) == said(other)
    for runner in fakes.runners.values():
        assert not runner.told, "a member still remembers a sequence"


CROWDED = {
    "specs": [LONG] * 6,
    "strategy": EVERY_STEP,
    "rule": "canonical",
    "drafter": "ada",
    "max_tokens": 4,
    "draft_s": 1e-9,
    "row_size": ROW_SIZE,
    "max_batch_tokens": 2048,
    "kv_tokens": 120,
    "aborted": set(),
}
CROWDED_SAFE = {**CROWDED, "strategy": VERIFIED[0], "kv_tokens": 150}
"""Six texts where members have room for three: some are evicted while others are drafted."""


@examples(60)
@example(trio="twins", **CROWDED)
@example(trio="one abstains", **CROWDED)
@example(trio="near twins", **CROWDED_SAFE)
@example(trio="unrelated", **{**CROWDED, "row_size": 1, "kv_tokens": 100_000})
@given(
    specs=st.lists(DRAFTED, min_size=1, max_size=6),
    trio=st.sampled_from(list(TRIOS)),
    strategy=st.sampled_from([*[EVERY_STEP] * 6, GATED, REPLACED, *AGGREGATED, *VERIFIED]),
    rule=st.sampled_from(["canonical", "append"]),
    drafter=st.sampled_from(list(DEFINITIONS)),
    max_tokens=st.integers(1, 7),
    draft_s=st.sampled_from([1e-9, 1e-9, 0.3]),
    row_size=st.sampled_from([1, 3, ROW_SIZE]),
    max_batch_tokens=st.sampled_from([1, 7, 2048]),
    kv_tokens=st.sampled_from([70, 120, 100_000]),
    aborted=st.sets(st.integers(0, 5), max_size=2),
)
def check_drafts(
    seen: Counter[str],
    specs,
    trio,
    strategy,
    rule,
    drafter,
    max_tokens,
    draft_s,
    row_size,
    max_batch_tokens,
    kv_tokens,
    aborted,
) -> None:
    same = {"rule": rule, "end_bias": 1.0}
    fakes = TRIOS[trio].members(**same, row_size=row_size, max_kv_tokens=kv_tokens)
    speculation = EagerSpeculation(drafter, max_tokens, list(DEFINITIONS), draft_s)
    limits = EngineLimits(max_batch_tokens=max_batch_tokens)
    with Running(fakes.ensemble, StrategyMaker(strategy), limits, speculation) as running:
        written = []
        for place, spec in enumerate(specs):
            written += running.submit([request_of(fakes, spec, str(place))])
            if place in aborted:
                running.engine.abort(str(place))
        for one in written:
            assert one.done.wait(60), "the engine hangs"
    fakes.close()
    for place, (spec, one) in enumerate(zip(specs, written, strict=True)):
        other = alone(spec, strategy, TRIOS[trio], **same)
        if one.finish.reason is FinishReason.ABORT:
            assert place in aborted
            assert one.token_bytes == other.token_bytes[: len(one.token_bytes)]
        else:
            assert said(one) == said(other)
        seen["abstained"] += bool(other.finish.abstained)  # not `one`, which may be aborted before
    for runner in fakes.runners.values():
        assert not runner.told, "a member still remembers a sequence"
    metrics = running.engine.metrics
    seen["accepted"] += speculation.num_accepted
    seen["dropped"] += speculation.num_drafted - speculation.num_accepted
    seen["accepted, and evictions"] += metrics.evictions if speculation.num_accepted else 0
    seen["completed"] += metrics.completed
    seen["dense"] += metrics.dense


@pytest.mark.slow
def test_drafts_and_short_rows_change_nothing_alone_or_in_a_busy_batch() -> None:
    """Against all entries, no drafts and nobody else; the examples see to it that all happens."""
    seen: Counter[str] = Counter()
    check_drafts(seen)
    for what in ("accepted", "dropped", "completed", "dense", "accepted, and evictions"):
        assert seen[what], seen
    assert seen["abstained"], seen


def test_sequences_are_evicted_and_come_back() -> None:
    fakes = members(max_kv_tokens=130)
    with Running(fakes.ensemble, StrategyMaker(EVERY_STEP)) as running:
        requests = [request_of(fakes, LONG, str(place)) for place in range(6)]
        written = running.write(requests)
        assert running.engine.metrics.evictions > 0
    fakes.close()
    assert {one.text for one in written} == {alone(LONG, EVERY_STEP).text}


@examples(25)
@given(
    specs=st.lists(SPECS, min_size=4, max_size=8),
    strategies=st.lists(
        st.sampled_from([EVERY_STEP, GATED, GUARDED, *AGGREGATED, *VERIFIED]),
        min_size=8,
        max_size=8,
    ),
    weights=st.lists(
        st.sampled_from([None, {"ada": 0.2, "bora": 0.0, "cleo": 0.8}]), min_size=8, max_size=8
    ),
    aborted=st.sets(st.integers(0, 7), max_size=2),
)
def test_requests_of_all_strategies_share_batches(specs, strategies, weights, aborted) -> None:
    """Each writes what it writes alone on an engine whose own strategy and weights are those."""
    fakes = members(max_kv_tokens=300)
    specs = [
        {**spec, "sampling": Sampling()} if strategy is GUARDED else spec
        for spec, strategy in zip(specs, strategies, strict=False)
    ]
    with Running(fakes.ensemble, StrategyMaker(REPLACED)) as running:
        written = []
        for place, spec in enumerate(specs):
            request = request_of(fakes, spec, str(place))
            chosen = {"strategy": strategies[place], "weights": weights[place]}
            written += running.submit([replace(request, **chosen)])
            if place in aborted:
                running.engine.abort(str(place))
        for one in written:
            assert one.done.wait(60), "the engine hangs"
    fakes.close()
    for place, (spec, one) in enumerate(zip(specs, written, strict=True)):
        trio = replace(TRIOS["unrelated"], weights=weights[place])
        other = alone(spec, strategies[place], trio)
        if one.finish.reason is FinishReason.ABORT:
            assert place in aborted
            assert one.token_bytes == other.token_bytes[: len(one.token_bytes)]
        else:
            assert said(one) == said(other)


@examples(30)
@given(spec=SPECS, strategy=STRATEGIES, order=st.permutations(list(DEFINITIONS)))
def test_members_permuted_write_the_same_text(spec, strategy, order) -> None:
    seeds = {name: place for place, name in enumerate(DEFINITIONS)}
    fakes = fake_ensemble(
        {name: DEFINITIONS[name] for name in order}, seeds=seeds, leading=["bora"], end_bias=3.0
    )
    with Running(fakes.ensemble, StrategyMaker(strategy)) as running:
        [written] = running.write([request_of(fakes, spec, "r")])
    fakes.close()
    assert said(written) == said(alone(spec, strategy))


@examples(15)
@given(spec=SPECS)
def test_threshold_one_is_every_step_and_zero_is_the_gate(spec) -> None:
    def write(strategy, names=tuple(DEFINITIONS)):
        fakes = members()
        request = request_of(fakes, spec, "r")
        request = replace(request, prompts={name: request.prompts[name] for name in names})
        with Running(fakes.ensemble, StrategyMaker(strategy)) as running:
            [written] = running.write([request])
        fakes.close()
        return written.token_bytes

    assert write(ThresholdConfig(gate="cleo", threshold=1.0)) == write(EVERY_STEP)
    gate_alone = write(EVERY_STEP, names=("cleo",))
    assert write(ThresholdConfig(gate="cleo", threshold=0.0)) == gate_alone


@examples(15)
@given(spec=SPECS)
def test_a_model_with_its_twin_is_the_model(spec) -> None:
    twins = dict.fromkeys(("one", "two"), DEFINITIONS["bora"])
    texts = []
    for names in (["one"], ["one", "two"]):
        fakes = fake_ensemble({name: twins[name] for name in names}, seeds=dict.fromkeys(names, 7))
        with Running(fakes.ensemble, StrategyMaker(EVERY_STEP)) as running:
            [written] = running.write([request_of(fakes, {**spec, "lead": False}, "r")])
        fakes.close()
        texts.append((written.text, written.finish.reason))
    assert texts[0] == texts[1]


@examples(15)
@given(spec=SPECS)
def test_weights_one_and_zero_are_the_first_member_alone(spec) -> None:
    fakes = members()
    request = request_of(fakes, spec, "r")
    alone_request = replace(request, prompts={"ada": request.prompts["ada"]})
    with Running(fakes.ensemble, StrategyMaker(EVERY_STEP)) as running:
        [first] = running.write([alone_request])
    fakes.close()
    weights = {"ada": 1.0, "bora": 0.0, "cleo": 0.0}
    fakes = members(weights=weights)
    with Running(fakes.ensemble, StrategyMaker(EVERY_STEP)) as running:
        [both] = running.write([replace(request, request_id="w")])
    fakes.close()
    assert both.token_bytes == first.token_bytes
