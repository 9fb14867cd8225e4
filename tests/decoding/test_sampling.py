"""The draw: exact support, exact distribution, noise that depends on nothing else."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gac.core import END, Pick, Row, Sampling, dense_entries
from gac.decoding.combine import Mean, combine, owners
from gac.decoding.decide import Decider
from gac.decoding.sampling import gumbel_noise, pick_token
from gac.decoding.support import TokenOrder, support_of
from tests.support.examples import examples
from tests.support.oracle import noise_key

SIZE = 12
SETTINGS = examples(200)


def order_of(size: int = SIZE, seed: int = 0) -> TokenOrder:
    draw = np.random.default_rng(seed)
    rank = np.concatenate([[0], 1 + draw.permutation(size - 1)]).astype(np.int32)
    return TokenOrder(rank, draw.integers(0, 2**64, size, dtype=np.uint64))


def known(probs: np.ndarray) -> Mean:
    """A distribution of which every value is known."""
    return Mean(np.arange(probs.size, dtype=np.int32), probs, probs, 0.0, 0.0)


PROBS = arrays.arrays(
    np.float64, SIZE, elements=st.sampled_from([0.0, 0.05, 0.1, 0.3, 1.0])
).filter(lambda p: p.sum() > 0)


@SETTINGS
@given(PROBS)
def test_greedy_takes_the_largest_and_breaks_ties_by_bytes(weights: np.ndarray) -> None:
    order = order_of()
    picked = pick_token(known(weights / weights.sum()), Sampling(), 0, order)
    best = [i for i in range(SIZE) if weights[i] == weights.max()]
    assert picked == min(best, key=lambda i: order.rank[i])


def test_end_wins_a_tie() -> None:
    probs = np.zeros(SIZE)
    probs[[END, 3, 7]] = 1 / 3
    assert pick_token(known(probs), Sampling(), 0, order_of()) == END


@SETTINGS
@given(PROBS, st.integers(0, 6), st.sampled_from([0.2, 0.5, 0.9, 1.0]), st.integers(0, 99))
def test_draw_stays_in_the_support_that_plain_sorting_gives(weights, k, p, seed) -> None:
    order = order_of()
    probs = weights / weights.sum()
    ranked = sorted(np.flatnonzero(probs), key=lambda i: (-probs[i], order.rank[i]))
    ranked = ranked[:k] if k else ranked
    mass, support = 0.0, []
    total = sum(probs[i] for i in ranked)
    for token in ranked:
        support.append(token)
        mass += probs[token] / total
        if mass >= p - 1e-12:
            break
    sampling = Sampling(temperature=1.0, top_k=k, top_p=p, seed=seed)
    assert pick_token(known(probs), sampling, 0, order) in support


@SETTINGS
@given(PROBS, st.integers(0, 99))
def test_min_p_one_is_greedy_up_to_ties(weights: np.ndarray, seed: int) -> None:
    probs = weights / weights.sum()
    picked = pick_token(
        known(probs), Sampling(temperature=1.0, min_p=1.0, seed=seed), 3, order_of()
    )
    assert probs[picked] == probs.max()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_tempered_distribution(temperature: float) -> None:
    probs = np.array([0.4, 0.3, 0.2, 0.08, 0.02])
    expected = probs ** (1 / temperature)
    expected /= expected.sum()
    order, count = order_of(probs.size), 20_000
    counts = np.zeros(probs.size)
    for position in range(count):
        counts[
            pick_token(known(probs), Sampling(temperature=temperature, seed=5), position, order)
        ] += 1
    chi_square = ((counts - count * expected) ** 2 / (count * expected)).sum()
    assert chi_square < 23.5  # four degrees of freedom: chance of more is 1e-4, and the seed fixed


def test_noise_is_gumbel_and_depends_on_seed_choice_position_and_token() -> None:
    hashes = order_of(50_000).hashes
    noise = gumbel_noise(Sampling(seed=1), 0, hashes)
    assert abs(noise.mean() - 0.5772) < 0.03
    assert abs(noise.std() - np.pi / np.sqrt(6)) < 0.03
    for changed, position in [
        (Sampling(seed=2), 0),
        (Sampling(seed=1, choice=1), 0),
        (Sampling(seed=1), 1),
    ]:
        other = gumbel_noise(changed, position, hashes)
        assert abs(np.corrcoef(noise, other)[0, 1]) < 0.03
    assert np.array_equal(noise[7:8], gumbel_noise(Sampling(seed=1), 0, hashes[7:8]))


def hash_for(bits: int, key: int) -> int:
    """The hash that SplitMix64's finaliser, undone here step by step, takes to these bits."""
    for shift, factor in ((31, 0x94D049BB133111EB), (27, 0xBF58476D1CE4E5B9), (30, 1)):
        undone = bits
        for _ in range(64 // shift):
            undone = bits ^ (undone >> shift)
        bits = undone * pow(factor, -1, 2**64) & (2**64 - 1)
    return bits ^ key


def test_noise_is_finite_at_both_ends_and_grows_between() -> None:
    """The largest draw is 1 - 2 ** -54, which float64 rounds to 1; nothing else is changed."""
    sampling = Sampling(temperature=1.0, seed=7)
    numbers = [0, 1, 2**52, 2**53 - 3, 2**53 - 2, 2**53 - 1]
    key = noise_key(sampling, 5)
    hashes = np.array([hash_for(n << 11, key) for n in numbers], dtype=np.uint64)
    noise = gumbel_noise(sampling, 5, hashes)
    assert np.isfinite(noise).all() and (np.diff(noise) >= 0.0).all() and noise[-1] > noise[-2]
    exact = [-math.log(-math.log((n + 0.5) * 2.0**-53)) for n in numbers[:-1]]
    assert noise[:-1] == pytest.approx(exact, rel=1e-15)
    assert noise[-1] == pytest.approx(54 * math.log(2), abs=0.7), "within a rounding of the draw"


def test_token_of_tiny_probability_does_not_win_by_the_largest_draw_alone() -> None:
    sampling = Sampling(temperature=1.0, seed=7)
    largest = hash_for(2**64 - 1, noise_key(sampling, 0))
    order = TokenOrder(np.arange(2, dtype=np.int32), np.array([0, largest], dtype=np.uint64))
    assert pick_token(known(np.array([1.0, 1e-300])), sampling, 0, order) == 0


def test_top_p_over_a_wide_support_takes_what_is_needed() -> None:
    size = 5000
    order = order_of(size)
    probs = np.full(size, 1 / size)
    seen = {
        pick_token(known(probs), Sampling(temperature=1.0, top_p=0.5, seed=seed), 0, order)
        for seed in range(300)
    }
    assert max(order.rank[list(seen)]) < size // 2
    assert len(seen) > 200


def row(member: str, probs: list[float]) -> Row:
    return Row(member, 0, dense_entries(np.array(probs, dtype=np.float32)))


@pytest.mark.parametrize("top_k", [255, 256, 257, 300, 999])
def test_top_p_is_a_share_of_what_top_k_leaves_however_many(top_k: int) -> None:
    """Of a flat distribution over 1000 tokens a fifth of the best k are k / 5."""
    order = order_of(1000)
    probs = np.full(1000, 1e-3)
    sampling = Sampling(temperature=1.0, top_k=top_k, top_p=0.199)
    support = support_of(known(probs), sampling, order)
    assert support is not None
    ranked = np.argsort(order.rank)[: math.ceil(0.199 * top_k)]
    assert sorted(support[0]) == sorted(ranked)


def test_combine_is_the_weighted_mean_of_those_present() -> None:
    weights = {"a": 0.5, "b": 0.3, "c": 0.2}
    rows = [row("c", [0.0, 0.5, 0.5]), row("a", [0.25, 0.75, 0.0])]
    mean = combine(rows, weights)
    assert mean.is_complete
    combined = mean.low
    assert combined == pytest.approx([0.25 * 5 / 7, (0.75 * 5 + 0.5 * 2) / 7, 0.5 * 2 / 7])
    assert combined.sum() == pytest.approx(1.0)
    assert np.array_equal(combined, combine(rows[::-1], weights).low)


def test_owners_are_the_strongest_voices_for_the_winner() -> None:
    rows = [row("a", [0.0, 0.4, 0.6]), row("b", [0.0, 0.4, 0.6]), row("c", [0.0, 0.9, 0.1])]
    equal = dict.fromkeys("abc", 1 / 3)
    assert owners(rows, equal, 2) == ("a", "b")
    assert owners(rows, equal, 1) == ("c",)
    assert owners(rows, {"a": 0.2, "b": 0.5, "c": 0.3}, 2) == ("b",)


def test_decider_picks_from_the_combined_row() -> None:
    decide = Decider({"a": 0.5, "b": 0.5}, Sampling(), order_of(3))
    rows = [row("a", [0.0, 0.6, 0.4]), row("b", [0.0, 0.1, 0.9])]
    assert decide(rows) == Pick(position=0, token=2, owners=("b",))
