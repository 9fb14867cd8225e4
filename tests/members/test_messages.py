"""What goes over sockets comes back as it was, and what is no message is refused."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gac.core import Answer, Draft, Entries, Extend, Sampling, dense_entries
from gac.errors import MemberError
from gac.members.member import Reply
from gac.members.messages import pack_batch, pack_reply, unpack_batch, unpack_reply
from tests.support.examples import examples

IDS = st.lists(st.integers(0, 200_000), max_size=9).map(tuple)
SAMPLINGS = st.builds(
    Sampling, temperature=st.sampled_from([0.0, 0.7]), seed=st.integers(0, 2**64 - 1)
)
DRAFTS = st.builds(
    Draft,
    max_tokens=st.integers(1, 8),
    until=st.floats(0, 1),
    sampling=SAMPLINGS,
    position=st.integers(0, 10_000),
)
EXTENDS = st.builds(
    Extend,
    sequence=st.integers(0, 2**40),
    kept=st.integers(0, 10_000),
    tail=IDS,
    positions=IDS,
    lead=st.booleans(),
    num_endless=st.integers(0, 9),
    dense=st.booleans(),
    entries=IDS,
    draft=st.none() | DRAFTS,
)
PROBS = st.lists(st.floats(0, 1, width=32), max_size=9).map(lambda p: np.array(p, np.float32))
ROWS = st.one_of(
    PROBS.map(dense_entries),
    PROBS.map(lambda p: Entries(np.arange(p.size, dtype=np.int32)[::-1] * 7, p, 0.25)),
)
ANSWERS = st.one_of(
    st.builds(Answer, rows=st.lists(ROWS, max_size=3).map(tuple), written=IDS),
    st.text(max_size=9).map(MemberError),
)


@examples(200)
@given(st.lists(EXTENDS, max_size=5))
def test_batch_survives_the_wire(batch: list[Extend]) -> None:
    assert unpack_batch(pack_batch(batch)) == batch


@examples(200)
@given(st.lists(ANSWERS, max_size=5))
def test_reply_survives_the_wire(answers: list[Answer | MemberError]) -> None:
    back = unpack_reply(pack_reply(Reply(answers, 0.5, 0.25)))
    assert (back.forward_s, back.row_s) == (0.5, 0.25)
    for sent, got in zip(answers, back.answers, strict=True):
        if isinstance(sent, MemberError):
            assert isinstance(got, MemberError)
            assert got.message == sent.message
            continue
        assert isinstance(got, Answer)
        assert got.written == sent.written
        for row, other in zip(sent.rows, got.rows, strict=True):
            assert np.array_equal(row.ids, other.ids)
            assert np.array_equal(row.probs, other.probs)
            assert row.bound == other.bound


def test_dense_row_carries_no_ids() -> None:
    row = dense_entries(np.full(1000, 0.001, dtype=np.float32))
    assert len(pack_reply(Reply([Answer((row,))]))) < 4100


@pytest.mark.parametrize("frame", [b"", b"nonsense", pack_batch([])[:-1] + b"\x00"])
def test_what_is_no_message_is_refused(frame: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        unpack_reply(frame)


def test_batch_of_wrong_types_is_refused() -> None:
    wrong = msgspec.msgpack.encode([{"sequence": "one", "kept": 0, "tail": [], "positions": []}])
    with pytest.raises(msgspec.ValidationError, match="sequence"):
        unpack_batch(wrong)
