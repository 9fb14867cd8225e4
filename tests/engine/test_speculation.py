"""What is ahead of a text is a guess: cut short, spoiled or forgotten, it never matters."""

import math
import threading
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from gac.config import EveryStepConfig, SpeculationConfig, ThresholdConfig
from gac.core import ErrorEvent, Extend, FinishReason, GenerateRequest, Prompt, Sampling
from gac.decoding.flow import Commit, Query
from gac.decoding.strategies import StrategyMaker
from gac.engine.speculation import Speculation, drafts_for, speculation_for
from gac.model import listing
from gac.model.listing import ROW_SIZE
from tests.support.collect import Running, Scripted, Written
from tests.support.fakes import (
    EagerSpeculation,
    FakeEnsemble,
    HashRunner,
    byte_level_definition,
    fake_ensemble,
    prompt_for,
    unigram_definition,
)

WORDS = byte_level_definition([" the", " cat", "he", "at"])
PIECES = unigram_definition([*"abcdefghijklmnopqrstuvwxyz", " the", " cat", "ca"])
EVERY_STEP = EveryStepConfig()
NEAR = {"definitions": {"a": WORDS, "b": WORDS}, "seeds": {"a": 0, "b": 0}, "wobbles": {"a": 0.5}}
TWINS = {**NEAR, "wobbles": {}}
FOREIGN = {
    "definitions": {"a": WORDS, "b": PIECES, "c": WORDS},
    "seeds": {"a": 0, "b": 1, "c": 0},
    "weights": {"a": 0.4, "b": 0.2, "c": 0.4},
}
SAMPLED = Sampling(temperature=0.8, top_k=30, top_p=0.95, seed=3)


def request_of(fakes: FakeEnsemble, **changes: object) -> GenerateRequest:
    prompts = prompt_for(fakes, "the cat")
    return replace(GenerateRequest("r", prompts, 30, ignore_eos=True), **changes)


def write(
    fakes: FakeEnsemble,
    strategy=EVERY_STEP,
    drafter: str | None = "a",
    max_tokens: int = 4,
    **changes: object,
) -> Written:
    """One text, and the members are closed."""
    eager = EagerSpeculation(drafter or "a", max_tokens, list(fakes.ensemble.members))
    speculation = eager if drafter else None
    with Running(fakes.ensemble, StrategyMaker(strategy), None, speculation) as running:
        [written] = running.write([request_of(fakes, **changes)])
    fakes.close()
    return written


def ends_alike(one: Written, other: Written) -> bool:
    assert isinstance(one.finish.reason, FinishReason)
    return (one.token_bytes, one.text, one.finish.reason) == (
        other.token_bytes,
        other.text,
        other.finish.reason,
    )


class PoisonedRunner:
    """Gives no numbers for any beginning of a text but those in `clean`."""

    def __init__(self, inner: HashRunner, clean: set[tuple[int, ...]]) -> None:
        self._inner, self._clean = inner, clean
        self.num_poisoned = 0

    def extend(self, batch: Sequence[Extend]) -> list[torch.Tensor]:
        given = self._inner.extend(batch)
        for item, logits in zip(batch, given, strict=True):
            ids = self._inner.told[item.sequence]
            for place, position in enumerate(item.positions):
                if tuple(ids[:position]) not in self._clean:
                    logits[place] = np.nan
                    self.num_poisoned += 1
        return given

    def release(self, sequences: Sequence[int]) -> None:
        self._inner.release(sequences)


def beginnings(runner: HashRunner) -> set[tuple[int, ...]]:
    """All that a runner was asked to give a row for, of its one sequence."""
    ids: list[int] = []
    seen = set()
    for [item] in runner.calls:
        ids[item.kept :] = item.tail
        seen |= {tuple(ids[:position]) for position in item.positions}
    return seen


@pytest.mark.parametrize("sampling", [Sampling(), SAMPLED, Sampling(temperature=1.1, seed=1)])
@pytest.mark.parametrize(
    ("lineup", "strategy"),
    [(NEAR, EVERY_STEP), (FOREIGN, EVERY_STEP)],
    ids=["near twins", "foreign"],
)
def test_rows_off_the_path_are_never_used(lineup, strategy, sampling) -> None:
    """Off the path that is taken without drafts there are no numbers, only NaN: nobody notices."""
    plain = fake_ensemble(**lineup)
    expected = write(plain, strategy, None, sampling=sampling)
    fakes, poisoned = fake_ensemble(**lineup), []
    for name, runner in fakes.runners.items():
        clean = beginnings(plain.runners[name])
        poisoned.append(PoisonedRunner(runner, clean))
        fakes.ensemble.members[name]._host._runner = poisoned[-1]
    written = write(fakes, strategy, sampling=sampling)
    assert not isinstance(written.end, ErrorEvent)
    assert ends_alike(written, expected)
    assert sum(runner.num_poisoned for runner in poisoned) > 0, "nobody left the path"


def test_numbers_that_are_wrong_on_the_path_are_an_error_with_drafts_too() -> None:
    fakes = fake_ensemble(**TWINS)
    host = fakes.ensemble.members["b"]._host
    clean = {tuple(prompt_for(fakes, "the cat")["b"].ids)}
    host._runner = PoisonedRunner(fakes.runners["b"], clean)
    written = write(fakes)
    assert isinstance(written.end, ErrorEvent) and "'b'" in str(written.end.error)
    assert len(written.tokens) == 1


@pytest.mark.parametrize("drafter", ["a", "b", "c"])
@pytest.mark.parametrize("row_size", [1, 3, ROW_SIZE])
def test_tables_forgotten_at_once_change_nothing(row_size, drafter, monkeypatch) -> None:
    def texts(drafter: str | None) -> list[list[bytes]]:
        fakes = fake_ensemble(**FOREIGN, row_size=row_size)
        eager = EagerSpeculation(drafter or "a", 4, list(fakes.runners))
        speculation = eager if drafter else None
        with Running(fakes.ensemble, StrategyMaker(EVERY_STEP), None, speculation) as running:
            requests = [request_of(fakes, request_id=str(n), sampling=s) for n, s in SEVERAL]
            written = running.write(requests)
        fakes.close()
        return [one.token_bytes for one in written]

    expected = texts(None)
    monkeypatch.setattr(listing.Lister, "recall", lambda lister, item: None)
    assert texts(drafter) == expected


SEVERAL = list(enumerate([Sampling(), SAMPLED, Sampling(temperature=1.0, seed=8), Sampling()]))


def test_what_a_member_remembers_is_bounded_and_given_back(monkeypatch) -> None:
    """A row of a batch's table keeps the whole table, and a table asked for twice is one."""
    monkeypatch.setattr(listing, "REMEMBERED_BYTES", 40_000)
    fakes = fake_ensemble({"a": WORDS})
    member = fakes.ensemble.members["a"]
    lister = member._host._lister
    for call in range(40):
        sequences = range(call % 3, 8, 1 + call % 2)
        batch = [Extend(s, 0, (5, call, s), (1, 2, 3), num_endless=call % 2) for s in sequences]
        again = [Extend(s, 3, (), (3,), num_endless=1) for s in sequences]
        member.extend(batch).result()
        member.extend(again).result()
        tables = [t for kept in lister._kept.values() for _, t in kept.values()]
        storages = {t.probs.untyped_storage().data_ptr(): t for t in tables}
        held = sum(t.probs.untyped_storage().nbytes() for t in storages.values())
        assert lister._memory.num_bytes == held
        assert held <= 40_000 or len(lister._kept) == 1
    monkeypatch.setattr(listing, "REMEMBERED_BYTES", 0)
    member.extend([Extend(s, 0, (6, s), (2,)) for s in range(8)]).result()
    assert len(lister._kept) == 8, "one row would keep the table, so all rows of a batch stay"
    member.release(range(8))
    member.extend([Extend(9, 0, (5,), ())]).result()
    assert lister._memory.num_bytes == 0 and not lister._kept
    fakes.close()


@pytest.mark.parametrize("max_context", [12, 13, 16, 20])
def test_drafts_end_at_the_context_limit(max_context: int) -> None:
    """The runner fails where it is told more ids than fit."""
    lineup = {**TWINS, "max_context": max_context}
    expected = write(fake_ensemble(**lineup), drafter=None)
    written = write(fake_ensemble(**lineup), max_tokens=7)
    assert ends_alike(written, expected)
    assert written.finish.reason is FinishReason.LENGTH
    assert 0 < written.finish.completion_tokens < 20


@pytest.mark.parametrize("max_context", [12, 15, 19, 26])
def test_drafts_are_scored_up_to_the_context_limit_of_who_spells_them_longer(max_context) -> None:
    """`a` loves words, which are single ids to it and single bytes to `b`."""
    texts = []
    for drafter in (None, "a"):
        fakes = fake_ensemble(
            {"a": WORDS, "b": byte_level_definition(["xy"])},
            weights={"a": 0.9, "b": 0.1},
            max_context=max_context,
        )
        fakes.runners["a"].biases = dict.fromkeys(range(256, 264), 12.0)
        texts.append(write(fakes, drafter=drafter, max_tokens=5))
    assert ends_alike(*texts)
    assert texts[0].finish.reason is FinishReason.LENGTH


@pytest.mark.parametrize("sampling", [SAMPLED, Sampling(temperature=1.3, seed=2, choice=1)])
def test_drafter_draws_with_the_noise_of_the_place(sampling: Sampling) -> None:
    """Its twin's picks are its own, every one."""
    fakes = fake_ensemble(**TWINS)
    write(fakes, max_tokens=4, max_new_tokens=41, sampling=sampling)
    calls = fakes.runners["b"].calls
    assert sum(not item.dense and not item.entries for [item] in calls) <= 1 + 8
    tails = [len(item.tail) for [item] in calls[1:] if item.tail]
    assert tails[1:] == [5] * len(tails[1:]), "nothing was dropped"


@pytest.mark.parametrize("threshold", [0.2, 0.4])
def test_gate_stops_where_it_is_unsure(threshold: float) -> None:
    """So what it writes by itself is never taken back."""
    fakes = fake_ensemble({"a": WORDS, "b": PIECES}, sharpness=4.0, rule="append")
    written = write(fakes, ThresholdConfig(gate="a", threshold=threshold), drafter=None)
    asked = [event.asked for event in written.tokens]
    assert ("a",) in asked and ("a", "b") in asked
    length = 0
    for [item] in fakes.runners["a"].calls:
        assert item.kept == length or not item.tail
        length = item.kept + len(item.tail)


@pytest.mark.parametrize("count", range(1, 15))
def test_no_token_is_drafted_that_could_not_be_written(count: int) -> None:
    fakes = fake_ensemble(**TWINS)
    written = write(fakes, max_new_tokens=count, max_tokens=5)
    assert written.finish.completion_tokens == count
    prompt = len(prompt_for(fakes, "the cat")["a"].ids)
    for runner in fakes.runners.values():
        longest = max(item.kept + len(item.tail) for batch in runner.calls for item in batch)
        assert longest < prompt + count, "a row is wanted after every token but the last"


@pytest.mark.parametrize("lineup", [TWINS, NEAR, FOREIGN], ids=["twins", "near", "foreign"])
def test_end_is_kept_out_up_to_a_place_inside_a_draft(lineup) -> None:
    """Members love to end: the first token that may be END is."""
    ends = set()
    for least in (0, 1, 2, 3, 4, 5, 6, 7, 11):
        for bias in (8.0, 4.0):
            same = {"ignore_eos": False, "min_new_tokens": least}
            expected = write(fake_ensemble(**lineup, end_bias=bias), drafter=None, **same)
            written = write(fake_ensemble(**lineup, end_bias=bias), max_tokens=5, **same)
            assert ends_alike(written, expected)
            assert written.finish.completion_tokens >= least
            ends.add(written.finish.completion_tokens - least)
    assert 0 in ends and len(ends) > 1


def test_stop_string_inside_a_draft_ends_the_text_there() -> None:
    free = write(fake_ensemble(**TWINS), drafter=None)
    stops = {event.text for event in free.tokens if event.text and "\ufffd" not in event.text}
    assert len(stops) > 4
    for stop in sorted(stops):
        written = write(fake_ensemble(**TWINS), stop=(stop,))
        assert written.text == free.text[: free.text.index(stop)]
        assert written.finish.reason is FinishReason.STOP
        assert written.token_bytes == free.token_bytes[: len(written.token_bytes)]


def drafts_at(fakes: FakeEnsemble, member: str) -> list[Extend]:
    calls = fakes.runners[member].calls
    return [item for batch in calls for item in batch if item.draft is not None]


def test_request_without_the_drafter_is_not_speculated_on() -> None:
    fakes = fake_ensemble(**FOREIGN)
    prompts = {name: prompt_for(fakes, "the cat")[name] for name in ("b", "c")}
    write(fakes, drafter="a", prompts=prompts)
    assert not drafts_at(fakes, "b") and not drafts_at(fakes, "c")
    assert not fakes.runners["a"].calls


def test_drafter_alone_goes_on_by_itself_and_nobody_scores() -> None:
    expected = write(fake_ensemble(**FOREIGN), drafter=None, prompts={"a": Prompt((1, 2, 3))})
    fakes = fake_ensemble(**FOREIGN)
    written = write(fakes, drafter="a", prompts={"a": Prompt((1, 2, 3))})
    assert ends_alike(written, expected)
    assert drafts_at(fakes, "a")


def test_query_that_does_not_ask_the_drafter_does_not_wait_for_it() -> None:
    """Nor for a draft that it made for an earlier query, and that was used up or dropped."""

    def now_and_then(members, decide):
        while True:
            for asked in (members, ("b", "c"), members, ("b",), ("c", "a"), ("a",)):
                rows = yield Query(asked)
                yield Commit(rows, decide)

    def texts(drafter: str | None) -> Written:
        fakes = fake_ensemble(**FOREIGN)
        speculation = EagerSpeculation("a", 4, list(fakes.runners)) if drafter else None
        with Running(fakes.ensemble, Scripted(script=now_and_then), None, speculation) as running:
            [written] = running.write([request_of(fakes)])
        fakes.close()
        return written

    assert ends_alike(texts("a"), texts(None))


@pytest.mark.parametrize("least", range(2, 9))
def test_row_of_another_kind_is_not_used_though_it_follows_the_right_ids(least: int) -> None:
    """`b` drafts `t` and `h`, `a` picks `th`: the ids fit, but the row was meant for a later token.

    There the text may end, as `b` badly wants, and here it may not.
    """
    fakes = fake_ensemble(
        {"a": byte_level_definition(["th"]), "b": byte_level_definition(["xy"])},
        weights={"a": 0.6, "b": 0.4},
    )
    likes = math.log(1.5 * 256)  # 0.6 of the mass

    def picks_th(told: Sequence[int]) -> torch.Tensor:
        logits = torch.zeros(fakes.runners["a"].num_logits)
        logits[256] = likes
        return logits

    def drafts_t_and_h(told: Sequence[int]) -> torch.Tensor:
        logits = torch.zeros(fakes.runners["b"].num_logits)
        if told[-1] == b"h"[0]:
            logits[b"t"[0]], logits[257] = likes, 100.0
        else:
            logits[b"h"[0]] = 100.0
        return logits

    fakes.runners["a"].logits = picks_th  # type: ignore[method-assign]
    fakes.runners["b"].logits = drafts_t_and_h  # type: ignore[method-assign]
    prompts = prompt_for(fakes, "h")
    written = write(
        fakes, EVERY_STEP, "b", 5, prompts=prompts, min_new_tokens=least, ignore_eos=False
    )
    assert written.token_bytes == [b"th"] * least
    assert written.finish.reason is FinishReason.STOP


def test_abort_inside_a_draft_leaves_nothing_behind() -> None:
    fakes = fake_ensemble(**TWINS)
    held, drafting = threading.Event(), threading.Event()
    plain = fakes.runners["a"].extend

    def extend(batch: Sequence[Extend]) -> list[torch.Tensor]:
        if any(item.draft is not None for item in batch) and not drafting.is_set():
            drafting.set()
            assert held.wait(30)
        return plain(batch)

    fakes.runners["a"].extend = extend  # type: ignore[method-assign]
    speculation = EagerSpeculation("a", 4, ["a", "b"])
    with Running(fakes.ensemble, StrategyMaker(EVERY_STEP), None, speculation) as running:
        gone, stays = running.submit(
            [request_of(fakes, request_id="gone"), request_of(fakes, request_id="stays")]
        )
        assert drafting.wait(30)
        running.engine.abort("gone")
        assert gone.done.wait(30)
        held.set()
        assert stays.done.wait(30)
    fakes.close()
    assert gone.finish.reason is FinishReason.ABORT
    assert ends_alike(stays, write(fake_ensemble(**TWINS), drafter=None))
    assert not any(runner.told for runner in fakes.runners.values())


def test_every_sequence_of_a_batch_drafts_as_many_as_it_may() -> None:
    """Sixteen with different ends: the last drafts are of different lengths, in one batch."""
    fakes = fake_ensemble(**TWINS)
    speculation = EagerSpeculation("a", 6, ["a", "b"])
    with Running(fakes.ensemble, StrategyMaker(EVERY_STEP), None, speculation) as running:
        requests = [
            request_of(fakes, request_id=str(n), max_new_tokens=2 + n, sampling=Sampling(seed=n))
            for n in range(16)
        ]
        written = running.write(requests)
    fakes.close()
    free = write(fake_ensemble(**TWINS), drafter=None).token_bytes
    assert [one.token_bytes for one in written] == [free[: 2 + n] for n in range(16)]
    lengths = [
        {item.draft.max_tokens for item in batch if item.draft is not None}
        for batch in fakes.runners["a"].calls
    ]
    assert max(map(len, lengths)) > 3


def test_speculation_is_off_where_it_cannot_be() -> None:
    fakes = fake_ensemble(**FOREIGN)
    members = fakes.ensemble.members
    assert speculation_for(SpeculationConfig(drafter="none"), members) is None
    assert speculation_for(SpeculationConfig(drafter="a"), {"a": members["a"]}) is None
    made = speculation_for(SpeculationConfig(drafter="a"), members)
    assert isinstance(made, Speculation)
    assert drafts_for(made, ("b", "c")) is None and drafts_for(made, ("a",)) is None
    drafts = drafts_for(made, ("a", "b"))
    assert drafts is not None and [drafts.choose(room) for room in (0, -1, -7)] == [0, 0, 0]
    fakes.close()
