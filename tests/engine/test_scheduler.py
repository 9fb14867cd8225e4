"""Who gets into a batch, and what idle members do."""

import time
from collections.abc import Sequence
from unittest.mock import patch

import pytest
import torch

from gac.config import EveryStepConfig, ThresholdConfig
from gac.core import Extend, GenerateRequest
from gac.decoding.strategies import StrategyMaker
from gac.engine.ensemble import CPU_CATCH_UP_IDS, CPU_PREFILL_IDS
from gac.engine.limits import EngineLimits
from gac.engine.scheduler import DECODE_IDS
from tests.support.collect import Running, Written
from tests.support.fakes import (
    EagerSpeculation,
    FakeEnsemble,
    byte_level_definition,
    fake_ensemble,
    prompt_for,
)

BYTES = byte_level_definition([])
DEFINITIONS = {"gate": byte_level_definition(["th"]), "other": byte_level_definition(["he"])}


def test_idle_member_catches_up_with_a_sure_gate() -> None:
    fakes = fake_ensemble(DEFINITIONS)
    request = GenerateRequest("r", prompt_for(fakes, "the cat sat"), 120, ignore_eos=True)
    never_unsure = StrategyMaker(ThresholdConfig(gate="gate", threshold=0.0))
    with Running(fakes.ensemble, never_unsure) as running:
        [written] = running.write([request])
    fakes.close()
    assert written.finish.ensembled_tokens == 0
    told = [extend for call in fakes.runners["other"].calls for extend in call]
    assert len(told) > 1
    assert not any(extend.positions for extend in told)
    assert all(len(extend.tail) >= CPU_CATCH_UP_IDS for extend in told)


def test_long_prompts_are_told_in_parts_behind_those_who_decode() -> None:
    fakes = fake_ensemble({"only": DEFINITIONS["gate"]})
    short = GenerateRequest("short", prompt_for(fakes, "a"), 30, ignore_eos=True)
    long = GenerateRequest("long", prompt_for(fakes, "b" * 100), 1, ignore_eos=True)
    limits = EngineLimits(max_batch_tokens=10)
    with Running(fakes.ensemble, StrategyMaker(EveryStepConfig()), limits) as running:
        running.write([short, long])
    fakes.close()
    calls = fakes.runners["only"].calls
    assert all(sum(len(extend.tail) for extend in call) <= 10 for call in calls)
    mixed = [call for call in calls if len(call) == 2]
    assert len(mixed) >= 8, "the long prompt held the other one up"
    assert all(len(call[0].tail) == 1 for call in mixed)


def write_beside_long_prompts(
    fakes: FakeEnsemble, num_long: int, prefill_chunk: int | None, num_tokens: int = 400
) -> list[Written]:
    """A text that is being written when prompts of 1000 bytes arrive."""
    short = GenerateRequest("short", prompt_for(fakes, "a"), num_tokens, ignore_eos=True)
    many = [
        GenerateRequest(f"long{n}", prompt_for(fakes, "bc" * 500 + str(n)), 2, ignore_eos=True)
        for n in range(num_long)
    ]
    limits = EngineLimits(prefill_chunk=prefill_chunk)
    with Running(fakes.ensemble, StrategyMaker(EveryStepConfig()), limits) as running:
        written = running.submit([short])
        while len(written[0].tokens) < 3:
            time.sleep(0.001)
        written += running.write(many)
        assert written[0].done.wait(60)
    fakes.close()
    return written


def alone(text: str, count: int) -> str:
    fakes = fake_ensemble({"only": DEFINITIONS["gate"]})
    request = GenerateRequest("r", prompt_for(fakes, text), count, ignore_eos=True)
    with Running(fakes.ensemble, StrategyMaker(EveryStepConfig())) as running:
        [written] = running.write([request])
    fakes.close()
    return written.text


@pytest.mark.parametrize(("prefill_chunk", "most"), [(None, CPU_PREFILL_IDS), (20, 20)])
def test_prompts_do_not_stall_those_who_decode(prefill_chunk: int | None, most: int) -> None:
    fakes = fake_ensemble({"only": DEFINITIONS["gate"]})
    written = write_beside_long_prompts(fakes, 3, prefill_chunk)
    calls = [[len(extend.tail) for extend in call] for call in fakes.runners["only"].calls]
    gaps, gap = [], 0  # ids that the member computed between two tokens of the short text
    for call in calls[1:]:
        gap += sum(call)
        if call[0] == 1:
            gaps.append(gap)
            gap = 0
    assert max(gaps) <= most + DECODE_IDS
    assert sum(sum(call) > 10 for call in calls) >= 3 * 1000 // most
    assert written[0].text == alone("a", 400)
    assert [one.text for one in written[1:]] == [alone("bc" * 500 + str(n), 2) for n in range(3)]


def test_prompts_alone_fill_the_batch() -> None:
    fakes = fake_ensemble({"only": DEFINITIONS["gate"]})
    requests = [
        GenerateRequest(str(n), prompt_for(fakes, "b" * 600), 2, ignore_eos=True) for n in range(3)
    ]
    with Running(fakes.ensemble, StrategyMaker(EveryStepConfig())) as running:
        running.write(requests)
    fakes.close()
    assert sum(len(extend.tail) for extend in fakes.runners["only"].calls[0]) == 1800


def test_prompts_go_on_from_old_to_young_while_others_decode() -> None:
    fakes = fake_ensemble({"only": DEFINITIONS["gate"]})
    write_beside_long_prompts(fakes, 2, 50)
    parts = [e for call in fakes.runners["only"].calls for e in call if len(e.tail) > DECODE_IDS]
    assert [part.sequence for part in parts] == sorted(part.sequence for part in parts)
    calls = [[len(extend.tail) for extend in call] for call in fakes.runners["only"].calls]
    with_prompt = [max(call) > DECODE_IDS for call in calls]
    first = with_prompt.index(True)
    assert all(with_prompt[first : first + 30]), "a batch without progress of the prompts"


def test_full_batch_of_decoders_leaves_room_for_a_prompt() -> None:
    fakes = fake_ensemble({"only": DEFINITIONS["gate"]})
    decoding = [
        GenerateRequest(f"d{n}", prompt_for(fakes, "a"), 300, ignore_eos=True) for n in range(8)
    ]
    prompt = GenerateRequest("long", prompt_for(fakes, "b" * 60), 1, ignore_eos=True)
    limits = EngineLimits(max_batch_tokens=6)
    with Running(fakes.ensemble, StrategyMaker(EveryStepConfig()), limits) as running:
        running.write([*decoding, prompt])
    fakes.close()
    parts = [[len(e.tail) for e in call if e.sequence == 9] for call in fakes.runners["only"].calls]
    assert parts[:40] == [[1]] * 40


def test_member_that_waits_for_a_slower_one_stays_ready_to_decode() -> None:
    fakes = fake_ensemble(DEFINITIONS)
    slow = fakes.runners["other"]
    plain = slow.extend

    def extend(batch: Sequence[Extend]) -> list[torch.Tensor]:
        time.sleep(0.005)
        return plain(batch)

    with patch.object(slow, "extend", extend):
        write_beside_long_prompts(fakes, 1, 30, 40)
    calls = [[len(extend.tail) for extend in call] for call in fakes.runners["gate"].calls]
    assert max(sum(call) for call in calls) <= 30 + DECODE_IDS


def test_idle_supporter_catches_up_in_parts_while_others_decode() -> None:
    fakes = fake_ensemble(DEFINITIONS)
    never_unsure = StrategyMaker(ThresholdConfig(gate="gate", threshold=0.0))
    short = GenerateRequest("short", prompt_for(fakes, "a"), 400, ignore_eos=True)
    long = GenerateRequest("long", prompt_for(fakes, "b" * 900), 2, ignore_eos=True)
    with Running(fakes.ensemble, never_unsure, EngineLimits(prefill_chunk=60)) as running:
        written = running.submit([short])
        while len(written[0].tokens) < 3:
            time.sleep(0.001)
        running.write([long])
        assert written[0].done.wait(60)
    fakes.close()
    told = [extend for call in fakes.runners["other"].calls for extend in call]
    assert max(len(extend.tail) for extend in told) == 60


def test_drafts_to_score_count_as_new_ids() -> None:
    """A verifier that spells each drafted token with many ids takes as many of the batch."""
    long_words = [f"{first}{second}abcd" for first in "bcdfghjklmnpqrst" for second in "aeiouy"]
    names = {"coarse": byte_level_definition(long_words), "fine": BYTES}
    fakes = fake_ensemble(names, weights={"coarse": 0.9, "fine": 0.1}, end_bias=-5.0)
    requests = [
        GenerateRequest(str(n), prompt_for(fakes, "a" * n), 30, ignore_eos=True)
        for n in range(1, 4)
    ]
    limits = EngineLimits(max_batch_tokens=24)
    speculation = EagerSpeculation("coarse", 4, list(names), 1e-9)
    make = StrategyMaker(EveryStepConfig())
    with Running(fakes.ensemble, make, limits, speculation) as running:
        running.write(requests)
    fakes.close()
    calls = fakes.runners["fine"].calls
    assert any(len(item.positions) > 1 for call in calls for item in call), "nothing was scored"
    assert all(sum(len(item.tail) for item in call) <= 24 for call in calls)
