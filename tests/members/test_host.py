"""What a host recalls is what it would compute; ids written ahead have a row each."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from gac.core import END, Answer, Draft, Extend, Sampling
from gac.errors import MemberError
from gac.members.host import MemberHost
from gac.vocabulary.union import build_union
from tests.support.fakes import (
    HashRunner,
    byte_level_definition,
    fake_host,
    fake_vocabulary,
)

DRAFT = Draft(4, 0.0, Sampling(), 1)


@pytest.fixture
def hosts() -> Iterator[tuple[MemberHost, HashRunner]]:
    vocabulary = fake_vocabulary("m", byte_level_definition(["the"]))
    runner = HashRunner(len(vocabulary.token_bytes))
    yield fake_host(vocabulary, runner, build_union([vocabulary])), runner


def answer(host: MemberHost, item: Extend) -> Answer:
    [given] = host.extend([item]).answers
    assert isinstance(given, Answer)
    return given


def test_row_after_other_ids_is_not_recalled(hosts) -> None:
    """The new ids were told without asking for their row."""
    host, runner = hosts
    answer(host, Extend(1, 0, (1, 2, 3), (3,)))
    answer(host, Extend(1, 1, (5, 6), ()))
    [row] = answer(host, Extend(1, 3, (), (3,))).rows
    [expected] = answer(host, Extend(2, 0, (1, 5, 6), (3,))).rows
    assert np.array_equal(row.ids, expected.ids) and np.array_equal(row.probs, expected.probs)


def test_row_that_may_end_is_not_recalled_where_the_text_must_go_on(hosts) -> None:
    host, runner = hosts
    everything = {"dense": True}
    [free] = answer(host, Extend(1, 0, (1, 2, 3), (3,), **everything)).rows
    [bound] = answer(host, Extend(1, 3, (), (3,), num_endless=1, **everything)).rows
    assert free.probs[END] > 0.0 == bound.probs[END]
    assert len(runner.calls) == 2
    [again] = answer(host, Extend(1, 3, (), (3,), num_endless=1, **everything)).rows
    assert np.array_equal(again.probs, bound.probs)
    assert len(runner.calls) == 2, "a row that was given is recalled"


def test_draft_breaks_off_where_the_model_fails_and_nothing_is_lost(hosts) -> None:
    host, runner = hosts
    plain, num_calls = runner.extend, 0

    def extend(batch):
        nonlocal num_calls
        num_calls += 1
        if num_calls == 3:
            raise MemberError("no memory")
        return plain(batch)

    runner.extend = extend
    broken = answer(host, Extend(1, 0, (1, 2, 3), (3,), draft=DRAFT))
    assert len(broken.written) == 1 and len(broken.rows) == 2
    whole = answer(host, Extend(2, 0, (1, 2, 3), (3,), draft=DRAFT))
    assert whole.written[:1] == broken.written
    ids = (1, 2, 3, *whole.written)
    [row] = answer(host, Extend(1, 4, ids[4:], (len(ids),))).rows
    assert np.array_equal(row.probs, whole.rows[-1].probs)


@pytest.mark.parametrize("sound", [1, 2, 3])
def test_draft_ends_before_numbers_that_are_no_distribution(hosts, sound: int) -> None:
    host, runner = hosts
    plain = runner.logits

    def logits(ids) -> torch.Tensor:
        return plain(ids) * (1.0 if len(ids) < 3 + sound else torch.nan)

    runner.logits = logits
    given = answer(host, Extend(1, 0, (1, 2, 3), (3,), num_endless=9, draft=DRAFT))
    assert len(given.rows) == sound == len(given.written) + 1


def test_scored_rows_end_before_numbers_that_are_no_distribution(hosts) -> None:
    host, runner = hosts
    plain = runner.logits
    runner.logits = lambda ids: plain(ids) * (torch.nan if len(ids) == 4 else 1.0)
    assert len(answer(host, Extend(1, 0, (1, 2, 3, 4, 5), (3, 4, 5))).rows) == 1
    [failed] = host.extend([Extend(2, 0, (1, 2, 3, 4, 5), (4, 5))]).answers
    assert not isinstance(failed, Answer) and "'m'" in str(failed)


def test_impossible_item_is_answered_by_an_error_beside_its_neighbours_rows(hosts) -> None:
    host, runner = hosts
    plain = runner.extend

    def extend(batch):
        return [MemberError("no") if 99 in item.tail else plain([item])[0] for item in batch]

    expected = answer(host, Extend(9, 0, (1, 2), (2,)))
    runner.extend = extend
    bad, good = Extend(1, 0, (1, 99), (2,)), Extend(2, 0, (1, 2), (2,))
    for batch in ([bad, good], [good, bad]):
        answers = dict(
            zip((one.sequence for one in batch), host.extend(batch).answers, strict=True)
        )
        assert isinstance(answers[1], MemberError)
        assert answers[1].message == "member 'm' failed: no"
        assert isinstance(answers[2], Answer)
        assert np.array_equal(answers[2].rows[0].probs, expected.rows[0].probs)
        host.release([1, 2])


def test_draft_of_an_impossible_item_fails_beside_others(hosts) -> None:
    host, runner = hosts
    plain = runner.extend
    runner.extend = lambda batch: [
        MemberError("no") if 99 in item.tail else plain([item])[0] for item in batch
    ]
    bad, good = (Extend(s, 0, (1, last), (2,), draft=DRAFT) for s, last in ((1, 99), (2, 2)))
    failed, written = host.extend([bad, good]).answers
    assert isinstance(failed, MemberError)
    assert isinstance(written, Answer) and len(written.written) >= 1
