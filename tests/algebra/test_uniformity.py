"""Bands and p values against enumeration, simulation, and the bands of another package."""

import numpy as np
import pytest
from arviz_stats.ecdf_utils import simulate_confidence_bands
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hlm_models.algebra.uniformity import UniformRanks

RANKS = 100
LAW = UniformRanks(150, RANKS - 1)


def tails(counts, n, m):
    """Two-sided tail probability (..., m) of the counts (..., m) below k = 1 to m."""
    law = stats.binom(n, np.arange(1, m + 1) / (m + 1))
    return np.minimum(2 * np.minimum(law.cdf(counts), law.sf(counts - 1)), 1)


def counts_of(ranks, m):
    return np.sum(np.asarray(ranks)[..., None] < np.arange(1, m + 1), axis=-2)


SEQUENCES = np.stack(np.meshgrid(*[np.arange(4)] * 5, indexing="ij"), axis=-1).reshape(-1, 5)
SMALLEST = tails(counts_of(SEQUENCES, 3), 5, 3).min(axis=1)


@given(st.lists(st.integers(0, 3), min_size=5, max_size=5))
def test_a_p_value_is_the_share_of_all_sequences_that_stray_as_far(ranks):
    found, counts = UniformRanks(5, 3).strayed(np.array(ranks)), counts_of(ranks, 3)
    tail = tails(counts, 5, 3)
    reach = tail.min() * (1 + 1e-9)
    assert found.p == pytest.approx(np.mean(reach >= SMALLEST), abs=1e-12)
    k = round(4 * found.at)
    assert tail[k - 1] == pytest.approx(tail.min())
    assert found.difference == pytest.approx(counts[k - 1] / 5 - k / 4)


def test_uniform_ranks_stray_as_often_as_stated():
    rng = np.random.default_rng(5)
    p = np.array([LAW.strayed(rng.integers(RANKS, size=LAW.n)).p for _ in range(500)])
    for error in (0.5, 0.1, 0.02):
        # The statistic is discrete, so a little less often is right; four standard errors.
        spread = 4 * np.sqrt(error * (1 - error) / len(p))
        assert 0.8 * error - spread < np.mean(p < error) < error + spread


@pytest.mark.parametrize(("a", "b"), [(2.2, 2.2), (0.5, 0.5), (1.8, 1.0)])
def test_ranks_that_are_not_uniform_stray(a, b):
    rng, law = np.random.default_rng(6), UniformRanks(250, RANKS - 1)
    crooked = np.floor(RANKS * rng.beta(a, b, law.n)).astype(int)
    assert law.strayed(crooked).p < 1e-3


@pytest.mark.parametrize(("n", "level"), [(20, 0.001), (150, 0.01), (150, 0.2), (1000, 0.001)])
def test_an_ecdf_leaves_the_band_where_its_p_value_is_below_the_level(n, level):
    rng = np.random.default_rng(7)
    law = UniformRanks(n, RANKS - 1)
    band = law.band(level)
    outcomes = set()
    # From uniform ranks to ranks that are surely outside, through the edge of the band.
    for push in np.linspace(0, 4 / np.sqrt(n), 60):
        ranks = np.floor(RANKS * rng.beta(1 + push, 1, n)).astype(int)
        counts = law.counts_below(ranks)
        leaves = bool(np.any((counts < band.lower) | (counts > band.upper)))
        assert leaves == (law.strayed(ranks).p < level)
        outcomes.add(leaves)
    assert outcomes == {True, False}


def test_a_band_is_left_as_often_as_stated():
    rng = np.random.default_rng(8)
    for level in (0.2, 0.01):
        band = LAW.band(level)
        counts = np.array(
            [LAW.counts_below(one) for one in rng.integers(RANKS, size=(4000, LAW.n))]
        )
        left = np.mean(np.any((counts < band.lower) | (counts > band.upper), axis=1))
        spread = 4 * np.sqrt(level * (1 - level) / len(counts))
        assert 0.8 * level - spread < left < level + spread


def test_a_band_is_symmetric():
    band = LAW.band(0.05)
    np.testing.assert_array_equal(band.lower, LAW.n - band.upper[::-1])


def test_the_band_is_that_of_arviz_where_both_can_be_had():
    """ArviZ finds it by simulation, at the points i / n: ours for as many ranks as simulations."""
    n = 100
    points = np.arange(1, n) / n
    inside = simulate_confidence_bands(n, 1, points, 0.9, 4000, np.random.default_rng(9))
    law, band = stats.binom(n, points), UniformRanks(n, n - 1).band(0.1)
    theirs = law.ppf((1 - inside) / 2), law.isf((1 - inside) / 2)
    # Its quantile is off by some Monte Carlo error, and may round another way.
    assert np.abs(band.lower - theirs[0]).max() <= 1
    assert np.abs(band.upper - theirs[1]).max() <= 1
    assert np.mean(band.lower == theirs[0]) > 0.8


def staying(n, m, tail):
    """The probability that no tail is `tail` or less: step by step with whole matrices."""
    share = np.arange(1, m + 1) / (m + 1)
    counts = np.arange(n + 1)
    mass = np.zeros(n + 1)
    mass[0] = 1.0
    for k in range(m):
        law = stats.binom(n, share[k])
        both = np.minimum(2 * np.minimum(law.cdf(counts), law.sf(counts - 1)), 1)
        step = stats.binom.pmf(counts[None] - counts[:, None], n - counts[:, None], 1 / (m + 1 - k))
        mass = np.where(both > tail * (1 + 1e-9), mass @ step, 0.0)
    return mass.sum()


@pytest.mark.parametrize(("n", "m"), [(1, 1), (7, 30), (60, 9), (400, 12)])
def test_the_chain_of_counts_is_that_of_whole_matrices(n, m):
    rng, law = np.random.default_rng(8), UniformRanks(n, m)
    for power in (0.7, 1.0, 1.3):
        ranks = np.floor((m + 1) * rng.uniform(size=n) ** power).astype(int)
        tail = tails(counts_of(ranks, m), n, m).min()
        assert law.strayed(ranks).p == pytest.approx(1 - staying(n, m, tail), abs=1e-11)


def test_ranks_that_are_all_one_cannot_be_uniform():
    assert UniformRanks(50_000, 99).strayed(np.zeros(50_000, dtype=int)).p < 1e-100
