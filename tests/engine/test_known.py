"""A row serves only the ids it was made for, and only who still knows them."""

import numpy as np
import pytest

from gac.core import Answer, Draft, Entries, Prompt, Sampling
from gac.engine.known import Known
from gac.vocabulary.retokenize import MemberContext
from tests.support.fakes import byte_level_definition, fake_vocabulary

A, B, C = b"abc"


def row(mark: int) -> Entries:
    return Entries(np.array([mark], dtype=np.int32), np.ones(1, dtype=np.float32))


def mark_of(known: Known, endless: bool = False) -> int | None:
    entries = known.row(endless)
    return None if entries is None else int(entries.ids[0])


@pytest.fixture
def known() -> Known:
    """A member that was told two ids and wrote two more."""
    vocabulary = fake_vocabulary("m", byte_level_definition(["xy"]))
    known = Known(1, MemberContext.start(vocabulary, "canonical", Prompt((A, B))))
    item = known.ask(0, Draft(2, 0.0, Sampling(), 1))
    assert mark_of(known) is None
    known.answer(item, Answer((row(10), row(11), row(12)), (A, C)))
    return known


def test_rows_serve_as_the_draft_is_accepted(known: Known) -> None:
    marks = [mark_of(known)]
    for token in (b"a", b"c", b"b"):
        known.commit(token, owned=True)
        marks.append(mark_of(known))
    assert marks == [10, 11, 12, None]
    assert known.num_missing == 1 and not known.ahead


def test_rows_of_what_was_dropped_never_serve(known: Known) -> None:
    known.commit(b"b", owned=True)
    item = known.ask(0, Draft(1, 0.0, Sampling(), 2))
    assert (item.kept, item.tail, item.positions) == (2, (B,), (3,))
    assert mark_of(known) is None, "the row that answers it is still on its way"
    known.answer(item, Answer((row(20),)))
    assert mark_of(known) == 20
    known.commit(b"c", owned=True)
    assert mark_of(known) is None


def test_telling_anew_forgets_what_was_ahead(known: Known) -> None:
    item = known.ask(2)
    assert (item.kept, item.tail, item.positions) == (2, (), (2,))
    assert mark_of(known) is None and not known.ahead
    known.answer(item, Answer((row(30),)))
    assert (mark_of(known, endless=True), mark_of(known)) == (30, None)


def test_answer_to_what_was_asked_before_an_eviction_is_dropped(known: Known) -> None:
    known.commit(b"b", owned=True)
    late = known.ask(0)
    known.forget()
    assert not known.is_asked and known.num_missing == 3
    again = known.ask(0)
    known.answer(late, Answer((row(40),)))
    assert known.is_asked and mark_of(known) is None
    known.answer(again, Answer((row(41),)))
    assert mark_of(known) == 41


def test_rows_that_were_left_out_are_asked_for_when_they_are_needed(known: Known) -> None:
    known.commit(b"b", owned=True)
    item = known.ask(0, scored=((A, C), (1, 2)))
    known.answer(item, Answer((row(50), row(51))))
    known.commit(b"a", owned=True)
    assert mark_of(known) == 51
    known.commit(b"c", owned=True)
    assert known.is_level and mark_of(known) is None
    assert known.ask(0).positions == (5,)
