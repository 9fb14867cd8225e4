"""No request is lost in silence: refusals, defects, members that fail, the end of the engine."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from gac.config import EveryStepConfig
from gac.core import ErrorEvent, FinishReason, GenerateRequest
from gac.decoding.flow import Commit, Draft, Query
from gac.decoding.strategies import StrategyMaker
from gac.engine.limits import EngineLimits
from gac.engine.writer import write
from gac.errors import (
    EngineOverloaded,
    EngineUnavailable,
    GacError,
    MemberError,
    MemberLost,
    RequestError,
)
from tests.support.collect import Running, Scripted
from tests.support.fakes import FakeEnsemble, byte_level_definition, fake_ensemble, prompt_for

EVERY_STEP = StrategyMaker(EveryStepConfig())


@pytest.fixture
def fakes() -> Iterator[FakeEnsemble]:
    made = fake_ensemble({"a": byte_level_definition(["th"]), "b": byte_level_definition(["he"])})
    yield made
    made.close()


def request_of(fakes: FakeEnsemble, request_id: str, max_new_tokens: int = 5) -> GenerateRequest:
    return GenerateRequest(request_id, prompt_for(fakes, "the"), max_new_tokens, ignore_eos=True)


def replace_extend(fakes: FakeEnsemble, name: str, change: Callable) -> None:
    runner = fakes.runners[name]
    original = runner.extend
    runner.extend = lambda batch: change(original, batch)  # type: ignore[method-assign]


def test_full_queue_refuses_and_works_again_when_it_has_emptied(fakes: FakeEnsemble) -> None:
    gate = threading.Event()
    replace_extend(fakes, "a", lambda original, batch: gate.wait(20) and original(batch))
    limits = EngineLimits(max_sequences=1, max_queued=2)
    with Running(fakes.ensemble, EVERY_STEP, limits) as running:
        written = running.submit([request_of(fakes, str(n)) for n in range(3)])
        with pytest.raises(EngineOverloaded):
            running.submit([request_of(fakes, "more")])
        with pytest.raises(RequestError, match="4 sequences at once exceed") as wide:
            running.submit([request_of(fakes, f"many {n}") for n in range(4)])
        assert wide.value.param == "messages_list"
        gate.set()
        for one in written:
            assert one.done.wait(20)
        [later] = running.write([request_of(fakes, "later")])
        assert later.finish.completion_tokens == 5


def test_strategy_that_cannot_start_fails_its_request_alone(fakes: FakeEnsemble) -> None:
    def make(members, decide):
        if len(members) == 1:
            raise KeyError("no gate")
        return EVERY_STEP(members, decide)

    with Running(fakes.ensemble, Scripted(script=make)) as running:
        bad = request_of(fakes, "bad")
        bad = GenerateRequest("bad", {"a": bad.prompts["a"]}, 5)
        failed, good = running.write([bad, request_of(fakes, "good")])
        assert isinstance(failed.end, ErrorEvent)
        assert isinstance(failed.end.error, KeyError)
        assert good.finish.completion_tokens == 5
    assert running.engine.num_waiting == running.engine.num_running == 0


def test_impossible_item_fails_its_own_sequence_only(fakes: FakeEnsemble) -> None:
    good = [request_of(fakes, f"good {n}") for n in range(3)]
    with Running(fakes.ensemble, EVERY_STEP) as running:
        expected = [one.token_bytes for one in running.write(good)]
    poison = 10**9

    def refuse(original, batch):
        return [MemberError("no") if poison in one.tail else original([one])[0] for one in batch]

    replace_extend(fakes, "a", refuse)
    bad = request_of(fakes, "bad")
    prompt = replace(bad.prompts["a"], ids=(*bad.prompts["a"].ids, poison))
    bad = replace(bad, prompts={**bad.prompts, "a": prompt})
    with Running(fakes.ensemble, EVERY_STEP) as running:
        failed, *others = running.write([bad, *good])
        assert isinstance(failed.end, ErrorEvent)
        assert "member 'a' failed: no" in str(failed.end.error)
        assert [one.token_bytes for one in others] == expected


def test_strategy_that_ends_is_an_error_and_no_hang(fakes: FakeEnsemble) -> None:
    def one_token(members, decide):
        rows = yield Query(members)
        yield Commit(rows, decide)

    with Running(fakes.ensemble, Scripted(script=one_token)) as running:
        [written] = running.write([request_of(fakes, "r")])
        assert isinstance(written.end, ErrorEvent)
        assert isinstance(written.end.error, GacError)
        assert len(written.tokens) == 1


def test_defect_met_while_an_answer_is_taken_fails_its_own_sequence_only(fakes) -> None:
    def make(members, decide):
        def fail(rows):
            raise KeyError("no such token")

        if len(members) == 1:
            yield Draft("a", 3, fail)
        yield from EVERY_STEP(members, decide)

    with Running(fakes.ensemble, Scripted(script=make)) as running:
        bad = GenerateRequest("bad", {"a": request_of(fakes, "bad").prompts["a"]}, 5)
        failed, good = running.write([bad, request_of(fakes, "good")])
        assert isinstance(failed.end, ErrorEvent)
        assert isinstance(failed.end.error, KeyError)
        assert good.finish.completion_tokens == 5
        assert running.engine.broken is None


def test_long_run_of_commits_needs_no_deep_stack(fakes: FakeEnsemble) -> None:
    def one_query(members, decide):
        rows = yield Query(members)
        while True:
            yield Commit(rows, decide)

    with Running(fakes.ensemble, Scripted(script=one_query)) as running:
        [written] = running.write([request_of(fakes, "r", 3 * sys.getrecursionlimit())])
        assert written.finish.completion_tokens == 3 * sys.getrecursionlimit()


def test_numbers_that_are_no_distribution_fail_their_own_sequence_only(fakes) -> None:
    def spoil_first(original, batch):
        logits = original(batch)
        for item, of_item in zip(batch, logits, strict=True):
            if item.sequence == 1:
                of_item[:] = np.nan
        return logits

    replace_extend(fakes, "b", spoil_first)
    with Running(fakes.ensemble, EVERY_STEP) as running:
        spoiled, sound = running.write([request_of(fakes, "1"), request_of(fakes, "2")])
        assert isinstance(spoiled.end, ErrorEvent)
        assert "'b'" in str(spoiled.end.error)
        assert sound.finish.completion_tokens == 5


def test_batch_that_fails_fails_its_sequences_and_the_next_works(fakes: FakeEnsemble) -> None:
    failures = iter([MemberError("member 'a' failed: out of memory")])

    def fail_once(original, batch):
        for failure in failures:
            raise failure
        return original(batch)

    replace_extend(fakes, "a", fail_once)
    with Running(fakes.ensemble, EVERY_STEP) as running:
        [failed] = running.write([request_of(fakes, "1")])
        assert isinstance(failed.end, ErrorEvent)
        [sound] = running.write([request_of(fakes, "2")])
        assert sound.finish.completion_tokens == 5
        with pytest.raises(MemberError):
            failures = iter([MemberError("again")])
            write(running.engine, [request_of(fakes, "3")])


def test_lost_member_fails_everything_and_all_that_comes(fakes: FakeEnsemble) -> None:
    def die(original, batch):
        raise MemberLost("member 'a' died")

    member = fakes.ensemble.members["a"]
    member._host.extend = lambda batch: die(None, batch)
    with Running(fakes.ensemble, EVERY_STEP) as running:
        for one in running.write([request_of(fakes, str(n)) for n in range(3)]):
            assert isinstance(one.end, ErrorEvent)
            assert isinstance(one.end.error, MemberLost)
        with pytest.raises(EngineUnavailable, match="'a' died"):
            running.submit([request_of(fakes, "later")])


def test_stopping_ends_what_runs_and_what_was_just_submitted(fakes: FakeEnsemble) -> None:
    with Running(fakes.ensemble, EVERY_STEP) as running:
        written = [running.submit([request_of(fakes, str(n), 10_000)])[0] for n in range(9)]
        running.engine.stop()
        for one in written:
            assert one.done.wait(20)
            assert one.finish.reason is FinishReason.ABORT
        with pytest.raises(EngineUnavailable, match="shutting down"):
            running.submit([request_of(fakes, "later")])


def test_silence_is_counted_from_the_question_not_from_idleness(fakes: FakeEnsemble) -> None:
    gate = threading.Event()
    replace_extend(fakes, "b", lambda original, batch: gate.wait(20) and original(batch))
    with Running(fakes.ensemble, EVERY_STEP) as running:
        time.sleep(0.3)
        assert running.engine.roster.silent_s == 0.0
        asked_at = time.monotonic()
        [written] = running.submit([request_of(fakes, "r")])
        while (silent_s := running.engine.roster.silent_s) == 0.0:
            time.sleep(0.001)
        assert silent_s <= time.monotonic() - asked_at
        gate.set()
        assert written.done.wait(20)
        assert running.engine.roster.silent_s == 0.0
