"""Quantiles of mixtures of normals: the distribution function says so."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hlm_models.prediction.mixture import mixture_quantiles


def made_up(kind, parts, rng):
    if kind == "posterior":
        return rng.normal(size=parts), np.exp(0.3 * rng.normal(size=parts))
    if kind == "far apart":
        return 100 * rng.normal(size=parts), np.full(parts, 0.01)
    if kind == "heavy":
        return rng.standard_cauchy(parts), np.exp(3 * rng.normal(size=parts))
    return rng.normal(size=parts), rng.integers(0, 2, parts) * 1.0


@given(
    kind=st.sampled_from(["posterior", "far apart", "heavy", "some without spread"]),
    parts=st.sampled_from([3, 50, 1001]),
    p=st.sampled_from([1e-6, 0.025, 0.3, 0.975, 0.99999]),
    seed=st.integers(0, 10**6),
)
def test_the_share_below_a_quantile_is_its_probability(kind, parts, p, seed):
    c, s = made_up(kind, parts, np.random.default_rng(seed))
    [found] = mixture_quantiles(p, c[:, None], s[:, None])
    width = np.sqrt(c.var() + np.mean(s**2))
    wide = np.maximum(s, 1e-9 * width)
    below, above = (
        stats.norm.cdf((found + step * width - c) / wide).mean() for step in (-1e-9, 1e-9)
    )
    # Where the distribution function is flat, every point there is a quantile.
    assert below - 1e-9 <= p <= above + 1e-9


def test_one_normal_has_its_own_quantiles():
    c, s = np.full((5, 2), 3.0), np.full((5, 2), 2.0)
    np.testing.assert_allclose(mixture_quantiles(0.2, c, s), stats.norm.ppf(0.2, 3, 2), rtol=1e-13)


def test_location_and_scale():
    rng = np.random.default_rng(1)
    c, s = rng.normal(size=(200, 30)), np.exp(rng.normal(size=(200, 30)))
    found = mixture_quantiles(0.9, c, s)
    np.testing.assert_allclose(mixture_quantiles(0.9, 1e7 + c, s) - 1e7, found, atol=1e-7)
    np.testing.assert_allclose(mixture_quantiles(0.9, 1e-8 * c, 1e-8 * s), 1e-8 * found)
    np.testing.assert_allclose(mixture_quantiles(0.1, -c, s), -found, rtol=1e-9)


def test_columns_without_spread_have_the_quantiles_of_their_centres():
    rng = np.random.default_rng(1)
    c, s = rng.normal(size=(40, 3)), np.exp(rng.normal(size=(40, 3)))
    s[:, 1] = 0.0
    found = mixture_quantiles(0.3, c, s)
    assert found[1] == pytest.approx(np.quantile(c[:, 1], 0.3))
    np.testing.assert_allclose(
        found[[0, 2]], mixture_quantiles(0.3, c[:, [0, 2]], s[:, [0, 2]]), rtol=1e-12
    )
