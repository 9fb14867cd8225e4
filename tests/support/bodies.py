"""What fuzzed bodies are made of: what belongs into a field, and now and then anything else."""

from typing import Any

from hypothesis import strategies as st

TEXT = st.one_of(
    st.sampled_from(["the cat", "", "\x00", "\ud800", "user", "<|end|>", "<0x41>", "\U000f0000"]),
    st.text(st.characters(), max_size=8),  # lone surrogates, too
)
NUMBERS = st.one_of(
    st.sampled_from([0, -1, 1, 2**31, 2**63, 2**64, 10**30, 1e-320, 1e-8, 1e308, True, -0.0]),
    st.integers(),
    st.floats(),
)
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), NUMBERS, TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=6,
)


def mostly(likely: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """What belongs there nearly always, else anything."""
    return st.integers(0, 29).flatmap(lambda n: likely if n else ANYTHING)


MEMBERS = st.sampled_from(["ada", "bora"])
EDGES = [0.0, 1e-320, 1e-8, 0.5, 1.0]
WORDS = st.one_of(st.text("the cat\n\x00é👍", min_size=1, max_size=20), st.just("<|end|>"))
