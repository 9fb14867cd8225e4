"""A row serves only the ids it was made for, and only who still knows them."""

import numpy as np
import pytest

from gac.core import Answer, Draft, Entries, Prompt, Sampling
from gac.engine.told import Told
from gac.vocabulary.retokenize import MemberContext
from tests.fakes import byte_level_definition, fake_vocabulary

A, B, C = b"abc"


def row(mark: int) -> Entries:
    return Entries(np.array([mark], dtype=np.int32), np.ones(1, dtype=np.float32))


def mark_of(told: Told, endless: bool = False) -> int | None:
    entries = told.row(endless)
    return None if entries is None else int(entries.ids[0])


@pytest.fixture
def told() -> Told:
    """A member that was told two ids and wrote two more."""
    vocabulary = fake_vocabulary("m", byte_level_definition(["xy"]))
    told = Told(1, MemberContext.start(vocabulary, "canonical", Prompt((A, B))))
    item = told.ask(0, Draft(2, 0.0, Sampling(), 1))
    assert mark_of(told) is None
    told.answer(item, Answer((row(10), row(11), row(12)), (A, C)))
    return told


def test_rows_serve_as_the_draft_is_accepted(told: Told) -> None:
    marks = [mark_of(told)]
    for token in (b"a", b"c", b"b"):
        told.commit(token, owned=True)
        marks.append(mark_of(told))
    assert marks == [10, 11, 12, None]
    assert told.num_missing == 1 and not told.ahead


def test_rows_of_what_was_dropped_never_serve(told: Told) -> None:
    told.commit(b"b", owned=True)
    item = told.ask(0, Draft(1, 0.0, Sampling(), 2))
    assert (item.kept, item.tail, item.positions) == (2, (B,), (3,))
    assert mark_of(told) is None, "the row that answers it is still on its way"
    told.answer(item, Answer((row(20),)))
    assert mark_of(told) == 20
    told.commit(b"c", owned=True)
    assert mark_of(told) is None


def test_telling_anew_forgets_what_was_ahead(told: Told) -> None:
    item = told.ask(2)
    assert (item.kept, item.tail, item.positions) == (2, (), (2,))
    assert mark_of(told) is None and not told.ahead
    told.answer(item, Answer((row(30),)))
    assert (mark_of(told, endless=True), mark_of(told)) == (30, None)


def test_answer_to_what_was_asked_before_an_eviction_is_dropped(told: Told) -> None:
    told.commit(b"b", owned=True)
    late = told.ask(0)
    told.forget()
    assert not told.is_asked and told.num_missing == 3
    again = told.ask(0)
    told.answer(late, Answer((row(40),)))
    assert told.is_asked and mark_of(told) is None
    told.answer(again, Answer((row(41),)))
    assert mark_of(told) == 41


def test_rows_that_were_left_out_are_asked_for_when_they_are_needed(told: Told) -> None:
    told.commit(b"b", owned=True)
    item = told.ask(0, scored=((A, C), (1, 2)))
    told.answer(item, Answer((row(50), row(51))))
    told.commit(b"a", owned=True)
    assert mark_of(told) == 51
    told.commit(b"c", owned=True)
    assert told.is_level and mark_of(told) is None
    assert told.ask(0).positions == (5,)
