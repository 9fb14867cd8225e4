"""What members are asked for again, where their rows list too little, and how often."""

from dataclasses import replace

import numpy as np
import pytest

from gac.config import EveryStepConfig, SafeConfig, StrategyConfig
from gac.core import Entries, Extend, GenerateRequest, Pick, Row, Sampling, dense_entries
from gac.decoding.flow import Commit
from gac.decoding.penalties import History
from gac.decoding.strategies import StrategyMaker
from gac.engine.completion import MOST_ENTRIES, complete
from gac.engine.metrics import Metrics
from gac.engine.overlap import FURTHER_TOKENS
from gac.engine.picks import Picks
from gac.members.local import LocalMember
from tests.support.collect import Running
from tests.support.fakes import byte_level_definition, fake_ensemble, prompt_for

SYLLABLES = [consonant + vowel for consonant in "bcdfghklmnprstvz" for vowel in "aeiou"]
WORDS = [one + other for one in SYLLABLES for other in SYLLABLES[:24]]
SAFE = SafeConfig(drafter="m0", consensus=1.0)


def row(member: str, probs: np.ndarray) -> Row:
    return Row(member, 0, dense_entries((probs / probs.sum()).astype(np.float32)))


def test_rows_next_to_a_long_complete_one_are_completed_without_a_list() -> None:
    probs = np.random.default_rng(0).random(MOST_ENTRIES + 1)
    whole = row("a", probs)
    some = Entries(whole.entries.ids[:8], whole.entries.probs[:8], 0.5)
    wanted = complete(Commit([whole, Row("b", 0, some)], lambda rows: None))
    assert wanted.dense and not wanted.entries
    assert wanted.lacks(Row("b", 0, some)) and not wanted.lacks(whole)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Extend]:
    """Everything that members are asked from now on."""
    items: list[Extend] = []
    extend = LocalMember.extend

    def spied(member: LocalMember, batch):
        items.extend(batch)
        return extend(member, batch)

    monkeypatch.setattr(LocalMember, "extend", spied)
    return items


def write(config: StrategyConfig, sampling: Sampling, **changes: object) -> Metrics:
    """What is counted while two members of a large union write 16 tokens."""
    definitions = {"m0": byte_level_definition(WORDS), "m1": byte_level_definition(WORDS[::-1])}
    fakes = fake_ensemble(definitions, **{"sharpness": 1.0, "end_bias": -50.0, **changes})
    assert len(fakes.ensemble.union) > MOST_ENTRIES
    request = GenerateRequest("r", prompt_for(fakes, "bacada"), 16, sampling=sampling)
    with Running(fakes.ensemble, StrategyMaker(config)) as running:
        running.write([request])
    fakes.close()
    return running.engine.metrics


@pytest.mark.parametrize("config", [EveryStepConfig(), SAFE], ids=lambda config: config.name)
def test_nobody_is_sent_a_list_of_a_complete_row(config, asked) -> None:
    """Sampled at temperature 1, rows are complete: others are completed at once, not by name."""
    metrics = write(config, Sampling(temperature=1.0, seed=2))
    assert max(len(item.entries) for item in asked) <= SAFE.max_tokens + FURTHER_TOKENS
    assert (metrics.dense > 0) is (config is SAFE), "verifiers' rows are short until they decide"


def test_a_row_is_decided_once_for_a_draft() -> None:
    seen: list[Row] = []

    def decide(rows):
        seen.extend(rows)
        return Pick(rows[0].position, 1, ("a",))

    picks, first = Picks(), row("a", np.ones(3))
    assert picks.pick(first, decide) is picks.pick(replace(first), decide)
    assert len(seen) == 1
    picks.pick(replace(first, entries=replace(first.entries)), decide)
    picks.pick(replace(first, position=1), decide)
    assert len(seen) == 3, "another row, another place"
    picks.forget(2)
    picks.pick(replace(first, position=1), decide)
    assert len(seen) == 4


def test_picks_after_a_token_that_was_replaced_are_made_again() -> None:
    """With penalties a pick depends on the tokens in front of it, not on its row alone."""
    history, rows = History(), [replace(row("a", np.ones(3)), position=n) for n in range(3)]

    def decide(rows):
        return Pick(rows[0].position, int(history.before(rows[0].position).sum()) + 1, ("a",))

    picks = Picks(history)
    assert [picks.pick(one, decide).token for one in rows] == [1, 2, 4]
    assert [picks.pick(one, decide).token for one in rows] == [1, 2, 4]
    picks.commit(Pick(1, 7, ("a",)))
    assert picks.pick(rows[2], decide).token == 9
    assert picks.pick(rows[0], decide).token == 1


def test_completions_of_drafts_are_counted() -> None:
    """Of what is let through, the first token alone is decided by the rows of all.

    It may need some entries and then all: whatever else is counted, drafts needed or verdicts.
    """
    free = SAFE.model_copy(update={"consensus": 0.0})
    drafted = write(free, Sampling(temperature=1.0, top_k=3, seed=2), row_size=1)
    assert drafted.completed + drafted.dense > 2, "one entry is not enough to draw one of three"
    tied = write(free, Sampling(), row_size=1, sharpness=0.0)
    assert tied.completed + tied.dense > 2, "one of many equals is not known to be the favourite"
    plain = write(free, Sampling())
    assert plain.completed + plain.dense <= 2, "greedy drafts need nothing more"
