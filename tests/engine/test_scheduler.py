"""Who gets into a batch, and what idle members do."""

from gac.config import EveryStepConfig, ThresholdConfig
from gac.core import GenerateRequest
from gac.decoding.strategies import strategy_maker
from gac.engine.engine import EngineLimits
from gac.engine.ensemble import CPU_CATCH_UP_IDS
from tests.collect import Running
from tests.fakes import byte_level_definition, fake_ensemble, prompt_for

DEFINITIONS = {"gate": byte_level_definition(["th"]), "other": byte_level_definition(["he"])}


def test_idle_member_catches_up_with_a_sure_gate() -> None:
    fakes = fake_ensemble(DEFINITIONS)
    request = GenerateRequest("r", prompt_for(fakes, "the cat sat"), 60, ignore_eos=True)
    never_unsure = strategy_maker(ThresholdConfig(gate="gate", threshold=0.0))
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
    with Running(fakes.ensemble, strategy_maker(EveryStepConfig()), limits) as running:
        running.write([short, long])
    fakes.close()
    calls = fakes.runners["only"].calls
    assert all(sum(len(extend.tail) for extend in call) <= 10 for call in calls)
    mixed = [call for call in calls if len(call) == 2]
    assert len(mixed) >= 8, "the long prompt held the other one up"
    assert all(len(call[0].tail) == 1 for call in mixed)
