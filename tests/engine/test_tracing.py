"""What a trace says is so: against the oracle's dense rows; and to trace changes nothing."""

import pickle
from collections import Counter
from itertools import product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gac.config import ArithmeticConfig, EveryStepConfig, MixtureConfig, SafeConfig, ThresholdConfig
from gac.core import FinishReason, GenerateRequest, Sampling, TokenEvent
from gac.decoding.flow import Commit, Query
from gac.model.listing import ROW_SIZE
from gac.trace import Outcome, TokenTrace, Why
from tests.support import reference
from tests.support.collect import Running, Scripted
from tests.support.drawn import (
    DEFINITIONS,
    GUARDS,
    SAMPLINGS,
    reference_members,
)
from tests.support.drawn_case import PLAIN_CASE, DrawnCase, told_nothing
from tests.support.examples import examples
from tests.support.fakes import byte_level_definition, fake_ensemble, prompt_for
from tests.support.methods import AGGREGATIONS, STRATEGIES, aggregate_of

TRACED = 5
NEAR = 2e-6
"""What float32 rows are off by."""
LETTERS = byte_level_definition([" a", "ba", "ab"])
BASE = {
    **PLAIN_CASE,
    "definitions": [LETTERS, byte_level_definition(["ab", "a b", "ba"])],
    "strategy": SafeConfig(drafter="m0", consensus=0.3),
}


class Case(DrawnCase):
    """A case with what its oracle needs; has to be closed."""

    def __init__(self, *args, **drawn) -> None:
        super().__init__(*args, **drawn)
        self.aggregate, self.fakes = aggregate_of(self.strategy), self.ensemble()
        self.names, self.weights = list(self.fakes.runners), self.fakes.ensemble.weights


def check_case(seen: Counter[str], **drawn) -> None:
    case = Case(**drawn)
    traced, untraced = case.write(trace=TRACED), case.write()
    assert told_nothing(traced) == told_nothing(untraced)
    assert {event.trace for event in untraced.tokens} <= {None}
    assert untraced.finish.trace is None
    members = reference_members(case.fakes, case.request(case.fakes))
    text: list[bytes] = []
    for event in traced.tokens:
        assert event.trace is not None
        check_token(case, members, text, event.token_bytes, event.trace)
        check_asked(case, event)
        seen[event.trace.outcome] += 1
        seen[event.trace.why] += 1
        for name, member in members.items():
            owned = name in event.pick.owners
            member.follow(b"".join(text), event.token_bytes, owned, "canonical")
        text.append(event.token_bytes)
    if traced.finish.reason is FinishReason.STOP:
        assert traced.finish.trace is not None
        check_token(case, members, text, b"", traced.finish.trace)
        seen["end"] += 1
    else:
        assert traced.finish.trace is None
    assert pickle.loads(pickle.dumps(traced.tokens)) == traced.tokens
    case.fakes.close()


def check_token(case: Case, members, text: list[bytes], token: bytes, trace: TokenTrace) -> None:
    """Everything but why, from the equations."""
    must = len(text) < case.made["min_new_tokens"]
    rows = {
        one.member: reference._going_on(members[one.member].distribution(b"".join(text)), must)
        for one in trace.members
    }
    for one in trace.members:
        row = rows[one.member]
        best = sorted(row.values(), reverse=True)[: len(one.top)]
        assert [candidate.probability for candidate in one.top] == pytest.approx(best, abs=NEAR)
        assert [row[c.token] for c in one.top] == pytest.approx(best, abs=NEAR)
        assert one.confidence == one.top[0].probability
        assert len(one.top) == min(TRACED, case.made["row_size"]) or len(one.top) == TRACED
    assert sum(one.weight for one in trace.members) == pytest.approx(1.0)
    decided = rows
    if trace.outcome is Outcome.DRAFTED:
        decided = {"m0": rows["m0"]}
        assert [one.member for one in trace.members if one.weight] == ["m0"]
    check_combined(case, decided, trace)
    if case.sampling.temperature == 0.0:
        ensembles = trace.rejected if trace.why is Why.CONFLICT_GUARD else token
        assert trace.combined[0].token == ensembles
    favours = [max(row.values()) - row.get(token, 0.0) < NEAR for row in rows.values()]
    if trace.outcome is Outcome.DRAFTED:
        favours += [
            one.agrees
            for one in trace.verdicts
            if one.member not in rows and one.agrees is not None
        ]
    assert trace.agreement == pytest.approx(sum(favours) / len(favours))


def check_combined(case: Case, decided, trace: TokenTrace) -> None:
    total = sum(case.weights[name] for name in decided)
    shares = {name: case.weights[name] / total for name in decided}
    assert len({one.token for one in trace.combined}) == len(trace.combined) > 0
    lows = [one.value for one in trace.combined]
    assert lows == sorted(lows, reverse=True)
    if getattr(case.strategy, "sharpen", "none") != "none":
        return
    aggregate = reference.arithmetic if len(decided) == 1 else case.aggregate
    combined, _ = aggregate(decided, shares)
    for one in trace.combined:
        assert one.value - NEAR <= combined.get(one.token, 0.0) <= one.at_most + NEAR


def check_asked(case: Case, event: TokenEvent) -> None:
    """Why, from what the strategy is."""
    trace, strategy = event.trace, case.strategy
    assert trace is not None
    heard = tuple(one.member for one in trace.members)
    assert set(heard) <= set(event.asked)
    guarded = trace.why is Why.CONFLICT_GUARD
    if isinstance(strategy, SafeConfig) and len(case.names) > 1:
        check_safe(case, event, trace)
    elif not guarded:
        assert trace.outcome is (Outcome.ENSEMBLED if len(heard) > 1 else Outcome.ALONE)
        assert not trace.verdicts and trace.rejected is None
    if isinstance(strategy, MixtureConfig) and len(case.names) > 1:
        assert trace.why is Why.DRAWN
    elif isinstance(strategy, ThresholdConfig) and len(case.names) > 1 and not guarded:
        gate = next((one for one in trace.members if one.member == "m0"), None)
        is_sure = gate is not None and gate.confidence > strategy.threshold
        assert trace.why is (Why.GATE_SURE if is_sure else Why.GATE_UNSURE)
    elif isinstance(strategy, EveryStepConfig) and not guarded:
        assert trace.why is (Why.ALL_ASKED if len(heard) > 1 else Why.ONLY_ONE)


def check_safe(case: Case, event: TokenEvent, trace: TokenTrace) -> None:
    if trace.why in (Why.ALL_ASKED, Why.ONLY_ONE, Why.CONFLICT_GUARD):
        return
    own = next(one for one in trace.members if one.member == "m0")
    drafted = event.token_bytes if trace.rejected is None else trace.rejected
    known = [one for one in trace.verdicts if one.agrees is not None]
    if trace.why is Why.NOT_ALIGNED:
        assert len(known) < len(trace.verdicts)
        return
    if case.sampling.temperature == 0.0:
        assert own.top[0].token == drafted
        if trace.why is not Why.EXTRA_GATE:
            agree = all(one.agrees for one in known) and bool(known)
            assert agree is (trace.why is Why.UNANIMOUS)
    if trace.why in (Why.CONSENSUS, Why.NO_CONSENSUS) and own.top[0].token == drafted:
        probabilities = {"m0": own.confidence, **{one.member: one.probability for one in known}}
        total = sum(case.weights[name] for name in probabilities)
        mean = sum(case.weights[name] / total * p for name, p in probabilities.items())
        assert (mean > case.strategy.consensus) is (trace.why is Why.CONSENSUS)
    is_joint = trace.why is Why.NO_CONSENSUS
    assert is_joint is (trace.outcome is not Outcome.DRAFTED)
    assert (trace.outcome is Outcome.REPLACED) is (trace.rejected is not None)
    assert trace.rejected != event.token_bytes


DRAWN = {
    "definitions": st.lists(DEFINITIONS, min_size=1, max_size=3),
    "strategy": STRATEGIES,
    "aggregation": st.sampled_from(AGGREGATIONS),
    "guard": GUARDS,
    "sampling": st.one_of(st.just(Sampling()), SAMPLINGS),
    "scores": st.lists(st.integers(1, 5), min_size=3, max_size=3),
    "sharpness": st.sampled_from([1.0, 3.0, 5.0]),
    "min_new_tokens": st.sampled_from([0, 4]),
    "row_size": st.sampled_from([1, 8, ROW_SIZE]),
    "lead": st.booleans(),
    "near": st.booleans(),
    "drafter": st.sampled_from([None, None, "m0"]),
}
ALL_BUT_SIX = bytes(set(range(256)) - set(b"ab cde"))
SHORT, LONG, NESTED = (
    byte_level_definition(words, missing=ALL_BUT_SIX)
    for words in (["ab", "ba"], [*map("".join, product("ab", repeat=3))], ["abababab"])
)
"""So few other tokens that these are written often; whoever has only them soon abstains."""
GATED = ThresholdConfig(gate="m0", threshold=0.3)


def test_trace_is_what_the_equations_say_and_changes_nothing() -> None:
    seen: Counter[str] = Counter()

    @examples(40)
    @example(**BASE)
    @example(**{**BASE, "near": False, "sharpness": 5.0})
    @example(**{**BASE, "near": False, "definitions": [SHORT, LONG]})
    @example(**{**BASE, "near": False, "definitions": [LETTERS, SHORT], "scores": [9, 1, 1]})
    @example(**{**BASE, "strategy": SafeConfig(drafter="m0", extra_gate=0.2)})
    @example(**{**BASE, "strategy": SafeConfig(drafter="m0", consensus=0.1)})
    @example(**{**BASE, "strategy": GATED, "near": False})
    @example(**{**BASE, "strategy": MixtureConfig(), "near": False})
    @example(
        **{
            **BASE,
            "strategy": EveryStepConfig(),
            "guard": "m0",
            "definitions": [NESTED, NESTED],
            "sharpness": 1.0,
        }
    )
    @example(**{**BASE, "strategy": EveryStepConfig(), "definitions": [LETTERS]})
    @given(**DRAWN)
    def check(**drawn) -> None:
        if len(drawn["definitions"]) < 2:
            drawn.update(aggregation=ArithmeticConfig(), guard=False, strategy=EveryStepConfig())
        check_case(seen, **drawn)

    check()
    print(seen)
    assert {str(one) for one in (*Outcome, *Why, "end")} == {str(one) for one in seen}


def test_untraced_request_is_not_explained() -> None:
    """Tracing costs nothing where nobody traces: the strategy is not even asked."""
    calls = []

    def script(members, decide):
        while True:
            rows = yield Query(members)
            yield Commit(rows, decide, lambda rows, pick: calls.append(pick))

    fakes = fake_ensemble({"m0": LETTERS, "m1": LETTERS}, end_bias=-9.0)
    request = GenerateRequest("r", prompt_for(fakes, "ab a"), max_new_tokens=5)
    with Running(fakes.ensemble, Scripted(script=script)) as running:
        [written] = running.write([request])
    fakes.close()
    assert len(written.tokens) == 5
    assert calls == []
