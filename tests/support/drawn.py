"""Ensembles and sampling that hypothesis draws, and their members for the reference."""

import hashlib

import numpy as np
import torch
from hypothesis import strategies as st

from gac.core import GenerateRequest, Sampling
from gac.decoding.sampling import gumbel_noise
from gac.engine.speculation import Speculation
from tests.support import reference
from tests.support.fakes import (
    EagerSpeculation,
    FakeEnsemble,
    byte_level_definition,
    fake_ensemble,
    unigram_definition,
)

ALPHABET = "ab é\n\u2581" + "👍"
WORDS = st.lists(st.text(ALPHABET, min_size=2, max_size=4), min_size=2, max_size=12, unique=True)
DEFINITIONS = st.one_of(
    WORDS.map(byte_level_definition),
    WORDS.map(lambda words: unigram_definition([*"ab é\n", *words])),
    st.just(byte_level_definition([" a", "ba"], missing=bytes(range(128, 256)) + b"xyz#!")),
)
"""The last one abstains once others write what it cannot spell."""
SAMPLINGS = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 0.0, 0.5, 1.0, 1.7]),
    top_k=st.sampled_from([0, 0, 1, 5, 40, 270]),
    top_p=st.sampled_from([1.0, 1.0, 0.3, 0.9]),
    min_p=st.sampled_from([0.0, 0.0, 0.1]),
    seed=st.integers(0, 2**64 - 1),
)
SCORES = st.lists(st.sampled_from([0, 1, 1, 2, 3, 5]), min_size=3, max_size=3)
"""A member of weight 0 has no say where another has."""
GUARDS = st.sampled_from([False, False, True, "m1"])


def drawn_ensemble(
    definitions, scores, lead: bool, near: bool, wobble: float = 0.0, **changes
) -> FakeEnsemble:
    """Members m0, m1, ... weighted by score.

    If `near` they have one tokenizer and one mind, from which m1 is off by its `wobble`.
    """
    if near:
        definitions = [definitions[0]] * len(definitions)
    names = [f"m{place}" for place in range(len(definitions))]
    shares = dict(zip(names, scores, strict=False))
    if not any(shares.values()):
        shares = dict.fromkeys(names, 1)
    return fake_ensemble(
        dict(zip(names, definitions, strict=True)),
        weights={name: score / sum(shares.values()) for name, score in shares.items()},
        leading=names if lead else (),
        seeds=dict.fromkeys(names, 0) if near else None,
        wobbles={"m1": wobble} if near else None,
        end_bias=1.0,
        **changes,
    )


def reference_model(fakes: FakeEnsemble, name: str) -> reference.Model:
    def model(ids: list[int]) -> list[float]:
        probs = fakes.runners[name].logits(ids).to(torch.float64).softmax(0)
        return list(map(float, probs))

    return model


def reference_members(fakes: FakeEnsemble, request: GenerateRequest) -> dict[str, reference.Member]:
    return {
        name: reference.Member(
            reference_model(fakes, name), fakes.ensemble.vocabularies[name], p.ids, p.lead
        )
        for name, p in request.prompts.items()
    }


def reference_noise(sampling: Sampling):
    def noise(position: int, token: bytes) -> float:
        digest = hashlib.blake2b(token, digest_size=8).digest()
        return float(gumbel_noise(sampling, position, np.frombuffer(digest, dtype="<u8"))[0])

    return noise


def speculate(drafter: str | None, names: list[str]) -> Speculation | None:
    return None if drafter is None else EagerSpeculation(drafter, 5, names)
