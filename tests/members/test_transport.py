"""Sockets carry the same messages as calls, and fail when a member is lost."""

import json
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gac.config import EveryStepConfig
from gac.core import Extend, GenerateRequest
from gac.decoding.strategies import strategy_maker
from gac.engine.ensemble import Ensemble
from gac.errors import MemberError, MemberLost
from gac.members.local import LocalMember
from gac.members.transport import (
    Exchange,
    Line,
    pack_batch,
    pack_rows,
    serve_line,
    unpack_batch,
    unpack_rows,
)
from tests.collect import Running
from tests.fakes import byte_level_definition, fake_ensemble, prompt_for, unigram_definition

IDS = st.lists(st.integers(0, 200_000), max_size=9).map(tuple)
EXTENDS = st.builds(
    Extend,
    sequence=st.integers(0, 2**40),
    kept=st.integers(0, 10_000),
    tail=IDS,
    positions=IDS,
    lead=st.booleans(),
)


class LineTo(LocalMember):
    """A local member whose host is reached through sockets instead."""

    def __init__(self, member: LocalMember, exchange: Exchange) -> None:
        super().__init__(member.name, member._host, member.facts)
        self.line = Line(member.name, exchange)
        serve_line(member._host, self.line.down, self.line.up)
        self.extend = self.line.extend  # type: ignore[method-assign]
        self.release = self.line.release  # type: ignore[method-assign]

    def close(self) -> None:
        self.line.close()
        super().close()


@pytest.fixture
def exchange():
    exchange = Exchange()
    yield exchange
    exchange.close()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(EXTENDS, max_size=5))
def test_batch_survives_the_wire(batch: list[Extend]) -> None:
    message = json.loads(pack_batch(7, batch))
    assert message["call"] == 7
    assert unpack_batch(message["extend"]) == batch


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=5), st.integers(1, 9))
def test_rows_survive_the_wire(counts: list[int], width: int) -> None:
    draw = np.random.default_rng(0)
    rows = [draw.random((count, width), dtype=np.float32) for count in counts]
    header, data = pack_rows(3, rows)
    back = unpack_rows(json.loads(header)["rows"], bytes(data))
    for sent, got in zip(rows, back, strict=True):
        assert len(sent) == len(got)
        assert not len(sent) or np.array_equal(sent, got)


def ensembles(exchange: Exchange):
    fakes = fake_ensemble(
        {
            "ada": byte_level_definition([" the", " cat"]),
            "bora": unigram_definition([*"abcthe ", " the", " cat"]),
        },
        leading=["bora"],
    )
    near = fakes.ensemble
    lines = {name: LineTo(member, exchange) for name, member in near.members.items()}
    far = Ensemble(lines, near.vocabularies, near.union, near.weights, near.rule)
    return fakes, near, far


def test_sockets_give_the_same_texts_as_calls(exchange: Exchange) -> None:
    fakes, near, far = ensembles(exchange)
    prompts = prompt_for(fakes, "the cat", lead=True)
    requests = [GenerateRequest(str(n), prompts, 3 * n + 1, ignore_eos=True) for n in range(8)]
    texts = []
    for ensemble in (near, far):
        with Running(ensemble, strategy_maker(EveryStepConfig())) as running:
            texts.append([one.token_bytes for one in running.write(requests)])
    assert texts[0] == texts[1]
    for member in far.members.values():
        member.close()


def test_error_of_a_batch_comes_back_and_the_next_batch_works(exchange: Exchange) -> None:
    fakes, _, far = ensembles(exchange)
    member = far.members["ada"]
    good = Extend(1, 0, (1, 2), (2,))
    with pytest.raises(MemberError, match="'ada' failed: AssertionError"):
        member.extend([Extend(9, 5, (1,), (6,))]).result(10)  # keeps ids that were never told
    [rows] = member.extend([good]).result(10)
    assert np.array_equal(rows, fakes.ensemble.members["ada"].extend([good]).result(10)[0])
    for each in far.members.values():
        each.close()


def test_lost_member_fails_what_waits_and_what_comes(exchange: Exchange) -> None:
    line = Line("gone", exchange)
    waiting = line.extend([Extend(1, 0, (1,), (1,))])
    assert not waiting.done()
    line.lose(MemberLost("member 'gone' died"))
    for future in (waiting, line.extend([])):
        with pytest.raises(MemberLost, match="gone"):
            future.result(1)
    line.close()


def test_closing_leaves_no_thread_and_no_directory() -> None:
    before = threading.active_count()
    exchange = Exchange()
    folder = exchange.endpoints()[0].removeprefix("ipc://").rsplit("/", 1)[0]
    exchange.close()
    assert threading.active_count() == before
    with pytest.raises(FileNotFoundError):
        open(folder)


def test_error_of_one_item_travels_beside_the_rows_of_the_others() -> None:
    rows = [
        np.ones((1, 3), np.float32),
        MemberError("no distribution"),
        np.ones((2, 3), np.float32),
    ]
    header, data = pack_rows(1, rows)
    first, error, last = unpack_rows(json.loads(header)["rows"], bytes(data))
    assert first.shape == (1, 3)
    assert isinstance(error, MemberError)
    assert error.message == "no distribution"
    assert last.shape == (2, 3)
    header, data = pack_rows(1, [MemberError("x")])
    [error] = unpack_rows(json.loads(header)["rows"], bytes(data))
    assert isinstance(error, MemberError)
