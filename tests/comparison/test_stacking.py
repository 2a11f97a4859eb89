"""Weights of models: the conditions of an optimum, closed cases, and ArviZ."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlm_models.comparison.weights import BOOTSTRAPS, pseudo_bma, stacking

MONTE_CARLO = 4 * 0.5 / math.sqrt(BOOTSTRAPS)
"""Four standard errors of a mean of numbers between 0 and 1."""


def made(seed, size, K, scale):
    rng = np.random.default_rng(seed)
    return rng.normal(-2, 1, (size, 1)) + rng.normal(0, scale, (size, K))


@given(
    seed=st.integers(0, 10**6),
    size=st.integers(3, 200),
    K=st.integers(2, 6),
    scale=st.sampled_from([0.001, 0.1, 1.0, 30.0, 500.0]),
)
def test_stacking_is_at_the_maximum(seed, size, K, scale):
    """No vertex is uphill: mean p_ik / sum w p_i is at most 1, and 1 where the weight is not 0."""
    pointwise = made(seed, size, K, scale)
    w = stacking(pointwise)
    assert w.min() >= 0
    assert w.sum() == pytest.approx(1)
    density = np.exp(pointwise - pointwise.max(axis=1, keepdims=True))
    slope = np.mean(density / (density @ w)[:, None], axis=0)
    # The search stops where the mean log score is known to about 1e-14.
    assert slope.max() < 1 + 1e-4
    assert slope[w > 1e-3] == pytest.approx(1, abs=1e-4)


def test_a_model_that_is_better_everywhere_has_all_the_weight():
    pointwise = made(1, 50, 1, 1.0) + np.array([0.0, -0.5, -3.0])
    assert stacking(pointwise) == pytest.approx([1, 0, 0], abs=1e-7)


def test_models_that_are_good_at_different_rows_share_the_weight():
    """Of k rows that only the first foresees, and m that only the second does: k to m."""
    first = np.repeat([0.0, -900.0], [15, 5])
    pointwise = np.column_stack([first, -900.0 - first])
    assert stacking(pointwise) == pytest.approx([0.75, 0.25], abs=1e-6)


def test_pseudo_bma_of_a_constant_difference_has_no_uncertainty():
    pointwise = made(2, 20, 1, 1.0) + np.array([0.0, -0.1])
    expected = 1 / (1 + math.exp(-20 * 0.1))
    found = pseudo_bma(pointwise, np.random.default_rng(1))
    assert found == pytest.approx([expected, 1 - expected], rel=1e-12)


def test_pseudo_bma_of_two_rows_is_an_integral_over_one_proportion():
    """The weight is E sigmoid(2 (a d_1 + (1 - a) d_2)) with a uniform on (0, 1)."""
    d = np.array([1.3, -0.7])
    pointwise = np.column_stack([d, np.zeros(2)]) - 5
    expected = np.diff(np.logaddexp(0, 2 * d[::-1]))[0] / (2 * (d[0] - d[1]))
    found = pseudo_bma(pointwise, np.random.default_rng(3))[0]
    assert found == pytest.approx(expected, abs=MONTE_CARLO)


def test_pseudo_bma_does_not_depend_on_how_many_are_drawn_at_once(monkeypatch):
    pointwise = made(3, 40, 3, 0.5)
    whole = pseudo_bma(pointwise, np.random.default_rng(1))
    monkeypatch.setattr("hlm_models.comparison.weights.BLOCK", 170)
    assert pseudo_bma(pointwise, np.random.default_rng(1)) == pytest.approx(whole, rel=1e-10)


@pytest.mark.parametrize("seed", range(4))
def test_weights_are_those_of_arviz(seed):
    import xarray as xr
    from arviz_stats import compare
    from arviz_stats.utils import ELPDDataLOO

    pointwise = made(seed, 120, 4, 0.4)
    fits = {}
    for k, column in enumerate(pointwise.T):
        fits[f"m{k}"] = ELPDDataLOO(
            elpd=column.sum(),
            se=math.sqrt(len(column)) * column.std(),
            p=1.0,
            n_samples=100,
            n_data_points=len(column),
            scale="log",
            warning=False,
            good_k=0.7,
            elpd_i=xr.DataArray(column, dims="obs"),
            pareto_k=xr.DataArray(np.zeros(len(column)), dims="obs"),
        )
    own = {
        # SLSQP of ArviZ stops at 1e-6 of the sum of log scores.
        "stacking": (stacking(pointwise), 2e-3),
        "BB-pseudo-BMA": (pseudo_bma(pointwise, np.random.default_rng(1)), 2**0.5 * MONTE_CARLO),
    }
    for method, (weights, tolerance) in own.items():
        table = compare(fits, method=method, round_to="none")
        assert [table.loc[f"m{k}", "weight"] for k in range(4)] == pytest.approx(
            weights, abs=tolerance
        )
