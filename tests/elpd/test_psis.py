"""Smoothed importance weights, against R's loo and ArviZ on the same log likelihoods."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp, ndtri

from hlm_models.elpd.psis import (
    good_k,
    leave_one_out,
    relative_efficiency,
    smoothed_weights,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "loo.json").read_text("utf-8"))


def uniforms(count, seed):
    """Park and Miller's generator, as in golden/loo.R."""
    found, state = np.empty(count), seed
    for i in range(count):
        state = 16807 * state % 2147483647
        found[i] = state / 2147483647
    return found


def made(case):
    """The log likelihoods (chains, draws, columns) of a case of golden/loo.R."""
    mu, scale = np.array(case["mu"]), np.array(case["scale"])
    size = len(mu), case["chains"], case["draws"]
    e = np.moveaxis(ndtri(uniforms(int(np.prod(size)), case["seed"])).reshape(size), 0, 2)
    for t in range(1, case["draws"]):
        e[:, t] = case["rho"] * e[:, t - 1] + np.sqrt(1 - case["rho"] ** 2) * e[:, t]
    values = -((e - mu) ** 2) * scale / 2
    return np.round(values, case["digits"]) if "digits" in case else values


@pytest.fixture(scope="module", params=list(GOLDEN["cases"]))
def case(request):
    known = GOLDEN["cases"][request.param]
    values = made(known)
    assert values.sum() == pytest.approx(known["sum"], rel=1e-12)
    return known, values


def test_relative_efficiencies_are_those_of_loo(case):
    known, values = case
    np.testing.assert_allclose(relative_efficiency(values), known["r_eff"], rtol=1e-9)


@pytest.mark.parametrize("which", ["relative", "one"])
def test_leave_one_out_is_that_of_loo(case, which):
    known, values = case
    expected = known[which]
    found = leave_one_out(values, r_eff=None if which == "relative" else np.ones(values.shape[2]))
    np.testing.assert_allclose(found.elpd, expected["elpd"], rtol=1e-8)
    np.testing.assert_allclose(found.lpd - found.elpd, expected["p"], rtol=1e-7)
    # R has no infinity in JSON.
    k = np.array([np.inf if one is None else one for one in expected["k"]])
    np.testing.assert_allclose(found.pareto_k, k, rtol=1e-7)


@pytest.mark.parametrize("which", ["relative", "one"])
def test_weights_are_those_of_loo(case, which):
    known, values = case
    r_eff = None if which == "relative" else np.ones(values.shape[2])
    weights, k = smoothed_weights(values, r_eff=r_eff)
    largest = -np.sort(-weights.reshape(-1, values.shape[2]), axis=0)[:8].T
    np.testing.assert_allclose(largest, known[which]["weights"], rtol=1e-7)
    np.testing.assert_array_equal(k, leave_one_out(values, r_eff=r_eff).pareto_k)
    np.testing.assert_allclose(weights.sum(axis=(0, 1)), 1, rtol=1e-12)


def test_the_golden_cases_have_good_and_bad_weights_and_none_to_fit():
    k = [one for case in GOLDEN["cases"].values() for one in case["relative"]["k"]]
    known = [one for one in k if one is not None]
    assert min(known) < 0.3
    assert max(known) > 1
    assert k.count(None) == 2


@pytest.mark.parametrize("r_eff", [1.0, 0.64, 0.25])
@pytest.mark.parametrize("chains", [1, 4])
def test_leave_one_out_is_that_of_arviz_where_the_tail_is_of_a_whole_number(chains, r_eff):
    # Else ArviZ rounds the number of weights that are smoothed down, and loo up.
    from arviz_stats.base import array_stats

    rng = np.random.default_rng(1)
    values = -(rng.standard_normal((chains, 1600 // chains, 40)) ** 2) * np.linspace(0.01, 2, 40)
    weights, k = array_stats.psislw(values, r_eff=r_eff, axis=(0, 1))
    found = leave_one_out(values, r_eff=np.full(40, r_eff))
    assert k.min() < 0.5
    assert k.max() > 1
    np.testing.assert_allclose(found.pareto_k, k, rtol=1e-9)
    by_column = np.moveaxis(values, 2, 0)
    np.testing.assert_allclose(
        found.elpd, logsumexp(weights + by_column, axis=(1, 2)), rtol=1e-9, atol=1e-12
    )
    ours, _ = smoothed_weights(values, r_eff=np.full(40, r_eff))
    np.testing.assert_allclose(np.moveaxis(ours, 2, 0), np.exp(weights), rtol=1e-8)


@given(seed=st.integers(0, 2**32 - 1), shift=st.floats(-1e3, 1e3), scale=st.floats(0.01, 2))
def test_a_constant_in_the_log_likelihood_is_one_in_the_result(seed, shift, scale):
    values = scale * np.random.default_rng(seed).normal(size=(2, 60, 3))
    one, other = leave_one_out(values), leave_one_out(values + shift)
    np.testing.assert_allclose(other.elpd, one.elpd + shift, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(other.lpd, one.lpd + shift, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(other.pareto_k, one.pareto_k, rtol=1e-6, atol=1e-6)


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 80))
def test_a_column_does_not_hang_on_those_beside_it(seed, count):
    values = np.random.default_rng(seed).normal(size=(2, 40, count))
    together = leave_one_out(values)
    alone = leave_one_out(values[:, :, count - 1 :])
    assert together.elpd[-1] == alone.elpd[0]
    assert together.pareto_k[-1] == alone.pareto_k[0]


def test_without_smoothing_it_is_the_harmonic_mean():
    values = np.random.default_rng(1).normal(size=(2, 10, 5))
    found = leave_one_out(values)
    np.testing.assert_allclose(found.elpd, -np.log(np.mean(np.exp(-values), axis=(0, 1))))
    assert np.all(found.pareto_k == np.inf)


def test_a_tail_of_one_value_has_no_k_and_is_not_smoothed():
    constant = np.full((4, 100, 1), -2.5)
    found = leave_one_out(constant)
    assert (found.elpd[0], found.lpd[0], found.pareto_k[0]) == pytest.approx((-2.5, -2.5, np.inf))
    tied = np.where(np.arange(400) < 200, -1.0, -3.0).reshape(4, 100, 1)
    found = leave_one_out(tied)
    assert found.pareto_k[0] == np.inf
    assert found.elpd[0] == pytest.approx(-np.log((np.e + np.e**3) / 2))


def test_log_likelihoods_of_any_size_are_taken():
    values = 1e4 * np.random.default_rng(1).normal(size=(4, 100, 3))
    found = leave_one_out(values)
    assert np.all(np.isfinite(found.elpd))
    assert np.all(found.elpd >= values.min(axis=(0, 1)))
    np.testing.assert_allclose(found.lpd, logsumexp(values, axis=(0, 1)) - np.log(400))


def test_what_is_not_finite_has_an_infinite_k_and_leaves_the_others_alone():
    values = np.random.default_rng(1).normal(size=(2, 100, 4))
    clean = leave_one_out(values)
    values[1, 7, 0], values[0, 3, 2], values[0, 4, 3] = -np.inf, np.nan, np.inf
    found = leave_one_out(values)
    assert found.pareto_k[[0, 2, 3]].tolist() == [np.inf] * 3
    assert found.elpd[0] == -np.inf
    assert np.isnan(found.elpd[2])
    assert found.elpd[1] == clean.elpd[1]
    expected = logsumexp(np.where(np.isfinite(values[..., 0]), values[..., 0], -np.inf))
    assert found.lpd[0] == pytest.approx(expected - np.log(200))


def test_chains_that_hardly_move_are_worth_few_draws():
    rng = np.random.default_rng(1)
    one = np.repeat(rng.normal(size=(4, 50)), 20, axis=1)[..., None]
    assert relative_efficiency(one)[0] < 0.2
    assert relative_efficiency(rng.normal(size=(4, 1000, 1)))[0] == pytest.approx(1, abs=0.2)
    assert relative_efficiency(np.zeros((4, 100, 1)))[0] == 1


def test_the_threshold_of_k_grows_with_the_draws_up_to_seven_tenths():
    # As the page of R's loo on the threshold lists them.
    assert [round(good_k(draws), 2) for draws in (100, 320, 1000, 2200, 10_000)] == [
        0.5, 0.6, 0.67, 0.7, 0.7,
    ]  # fmt: skip
    assert good_k(1) == -np.inf
