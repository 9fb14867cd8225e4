"""The one way out: bounded, closed when its reader leaves, and no trouble to the neighbours."""

import gc
import threading
from collections.abc import Iterator

import pytest

from gac.config import EveryStepConfig
from gac.core import ErrorEvent, FinishEvent, FinishReason, GenerateRequest, TokenEvent
from gac.decoding.flow import Query
from gac.decoding.strategies import StrategyMaker
from gac.engine.limits import EngineLimits
from gac.engine.stream import Stream
from gac.engine.writer import write
from gac.errors import EngineOverloaded
from tests.support.collect import Running, Scripted
from tests.support.fake_service import until
from tests.support.fakes import FakeEnsemble, byte_level_definition, fake_ensemble, prompt_for

EVERY_STEP = StrategyMaker(EveryStepConfig())
EVENTS_PER_TEXT = 16
LONG = 5 * EVENTS_PER_TEXT


@pytest.fixture(autouse=True)
def small_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that texts of fakes fill them soon."""
    monkeypatch.setattr("gac.engine.stream.EVENTS_PER_TEXT", EVENTS_PER_TEXT)


@pytest.fixture
def fakes() -> Iterator[FakeEnsemble]:
    made = fake_ensemble({"a": byte_level_definition(["th"]), "b": byte_level_definition(["he"])})
    yield made
    made.close()


@pytest.fixture
def running(fakes: FakeEnsemble) -> Iterator[Running]:
    with Running(fakes.ensemble, EVERY_STEP) as running:
        yield running


def request_of(fakes: FakeEnsemble, request_id: str, max_new_tokens: int = 5) -> GenerateRequest:
    prompt = prompt_for(fakes, f"the {request_id}")
    return GenerateRequest(request_id, prompt, max_new_tokens, ignore_eos=True)


def text_of(events: list[TokenEvent | FinishEvent]) -> str:
    return "".join(event.text for event in events)


def held(stream: Stream) -> int:
    return stream._buffer.events.qsize()


def test_events_come_in_order_and_end_with_each_requests_end(fakes, running) -> None:
    requests = [request_of(fakes, name, 9) for name in "xyz"]
    events = list(running.engine.stream(requests))
    for request in requests:
        own = [event for event in events if event.request_id == request.request_id]
        assert [event.pick.position for event in own[:-1]] == list(range(9))
        assert isinstance(own[-1], FinishEvent)
        assert own[-1].reason is FinishReason.LENGTH
    assert list(running.engine.stream([])) == []


def test_reader_that_stops_is_waited_for_and_neighbours_are_not(fakes, running) -> None:
    alone = [write(running.engine, [request_of(fakes, "slow", LONG)])[0].text]
    stream = running.engine.stream([request_of(fakes, "slow", LONG)])
    read = [next(stream) for _ in range(3)]
    assert until(lambda: held(stream) >= EVENTS_PER_TEXT)
    for n in range(3):  # the neighbour finishes, and more than once
        [text] = write(running.engine, [request_of(fakes, f"quick {n}", LONG)])
        assert text.finish.completion_tokens == LONG
    assert held(stream) == EVENTS_PER_TEXT  # not one more, however long it takes
    assert running.engine.num_running == 1
    read += list(stream)
    assert [text_of(read)] == alone
    assert running.engine.num_running == 0


def test_bound_is_of_all_texts_of_a_stream_together(fakes, running) -> None:
    requests = [request_of(fakes, str(n), LONG) for n in range(4)]
    stream = running.engine.stream(requests)
    assert until(lambda: held(stream) >= 4 * EVENTS_PER_TEXT)
    write(running.engine, [request_of(fakes, "quick", LONG)])
    assert held(stream) < 5 * EVENTS_PER_TEXT
    events = list(stream)
    for request in requests:
        own = [event for event in events if event.request_id == request.request_id]
        assert len(own) == LONG + 1


def test_no_text_differs_however_it_is_read(fakes, running) -> None:
    """One event at a time, all that is there, woken for each or for many."""
    [whole] = write(running.engine, [request_of(fakes, "r", LONG)])
    for at_once in (1, 7, 10**9):
        woken = threading.Event()
        stream = running.engine.stream([request_of(fakes, "r", LONG)])
        stream.call_when_ready(woken.set, at_once)
        events, num_waits = [], 0
        while not stream.ended:
            assert woken.wait(20), "nobody woke the reader"
            woken.clear()
            events += stream.take()
            num_waits += 1
        assert text_of(events) == whole.text
        assert num_waits <= 2 + LONG // min(at_once, EVENTS_PER_TEXT // 2)


@pytest.mark.parametrize("how", ["close", "with", "break", "drop"])
def test_leaving_aborts_what_still_runs(fakes, running, how: str) -> None:
    stream = running.engine.stream([request_of(fakes, str(n), 9_000) for n in range(3)])
    assert isinstance(next(stream), TokenEvent)
    if how == "close":
        stream.close()
        stream.close()
        assert list(stream) == []
    elif how == "with":
        with stream:
            pass
    elif how == "break":
        for _ in stream:
            break
    if how != "close":
        del stream
        gc.collect()
    assert until(lambda: running.engine.num_running + running.engine.num_waiting == 0)
    assert running.engine.metrics.aborted == 3
    assert until(lambda: not any(runner.told for runner in fakes.runners.values()))


def test_closing_lets_go_of_a_reader_that_waits(fakes, running) -> None:
    gate = threading.Event()
    runner = fakes.runners["a"]
    extend = runner.extend
    runner.extend = lambda batch: gate.wait(20) and extend(batch)  # type: ignore[method-assign]
    stream = running.engine.stream([request_of(fakes, "r", 9_000)])
    reader = threading.Thread(target=lambda: list(stream))
    reader.start()
    stream.close()
    reader.join(20)
    assert not reader.is_alive()
    gate.set()


def test_stop_of_the_engine_ends_a_stream_that_nobody_reads(fakes, running) -> None:
    stream = running.engine.stream([request_of(fakes, "r", 9_000)])
    assert until(lambda: held(stream) >= EVENTS_PER_TEXT)
    running.engine.stop()
    *_, end = stream
    assert isinstance(end, FinishEvent)
    assert end.reason is FinishReason.ABORT


def test_error_of_one_request_is_an_event_beside_the_others(fakes) -> None:
    def make(members, decide):
        if len(members) == 1:
            yield Query(members)
            raise KeyError("no such token")
        yield from EVERY_STEP(members, decide)

    good = request_of(fakes, "good")
    bad = GenerateRequest("bad", {"a": good.prompts["a"]}, 5)
    with Running(fakes.ensemble, Scripted(script=make)) as running:
        events = list(running.engine.stream([bad, good]))
        ends = {event.request_id: event for event in events if not isinstance(event, TokenEvent)}
        assert isinstance(ends["bad"], ErrorEvent)
        assert isinstance(ends["good"], FinishEvent)
        with pytest.raises(KeyError):
            write(running.engine, [bad, good])


def test_refusal_comes_from_the_call_and_not_from_the_first_event(fakes) -> None:
    with (
        Running(fakes.ensemble, EVERY_STEP, EngineLimits(1, 1)) as running,
        running.engine.stream([request_of(fakes, str(n), 9_000) for n in range(2)]),
        pytest.raises(EngineOverloaded),
    ):
        running.engine.stream([request_of(fakes, "more")])
