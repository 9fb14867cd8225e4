"""SAFE on trained models writes what its equations say, computed by plain uncached passes."""

import pytest

from gac.config import SafeConfig
from gac.core import GenerateRequest, Sampling
from gac.decoding.strategies import StrategyMaker
from tests.support.collect import Running
from tests.support.oracle import END, Oracle, check_text, noise_of, tokens_of
from tests.support.real_members import DEMO, real_ensemble, real_model
from tests.support.reference_safe import Safe

TEXTS = ("Please tell me a story about a fox.", "What is the capital of France?", "3 + 4 is")
CONFIGS = {
    "plain": {},
    "short drafts, high cut": {"max_tokens": 3, "consensus": 0.9},
    "extra gate, merged": {"extra_gate": 0.5, "sharpen": "prefix_merge"},
    "geometric": {"sharpen": "geometric", "consensus": 0.7},
}


@pytest.mark.skipif(len(DEMO) < 3, reason="not all demonstration models are here")
@pytest.mark.parametrize("temperature", [0.0, 1.0], ids=["greedy", "sampled"])
@pytest.mark.parametrize("rule", ["canonical", "append"])
@pytest.mark.parametrize("name", CONFIGS)
def test_demo_models_write_what_the_equations_say(name: str, rule: str, temperature: float) -> None:
    num_joint, num_tokens = 0, 0
    for place, text in enumerate(TEXTS):
        members = (DEMO[place:] + DEMO[:place])[: 2 + place % 2]
        config = SafeConfig(drafter=members[0], **CONFIGS[name])
        sampling = Sampling(temperature=temperature, top_p=0.9, seed=place)
        models = {member: real_model(member) for member in members}
        prompts = {member: model.prompt(text, True) for member, model in models.items()}
        request = GenerateRequest(text, prompts, 24, min_new_tokens=6, sampling=sampling)
        with real_ensemble(models, rule=rule) as ensemble:
            with Running(ensemble, StrategyMaker(config)) as running:
                [written] = running.write([request])
            oracle = Oracle(ensemble, models, config)
            safe = Safe(
                config,
                {member: oracle.member(member, request) for member in members},
                ensemble.weights,
                max_new_tokens=24,
                rule=rule,
                sampling=sampling,
                noise=lambda position, token, sampling=sampling: noise_of(
                    sampling, position, token
                ),
                min_new_tokens=6,
            )
        tokens, joint, ended = safe.generate()
        check_text(written)
        assert tokens_of(written) == ([*tokens, END] if ended else tokens)
        assert [len(event.asked) > 1 for event in written.tokens] == joint
        num_joint, num_tokens = num_joint + sum(joint), num_tokens + len(joint)
    assert 0 < num_joint < num_tokens
