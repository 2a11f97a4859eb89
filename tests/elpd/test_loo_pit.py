"""Leave-one-out probabilities, against the dense normal and on data that the model made."""

import numpy as np
import pytest
from made_up import conditional_draws, from_frame, moments, points_of
from scipy.stats import norm

import hlm_models as hlm
from hlm_models.algebra.uniformity import UniformRanks
from hlm_models.elpd import loo_pit as module
from hlm_models.elpd.loo_pit import LooPit
from hlm_models.elpd.psis import smoothed_weights
from hlm_models.errors import InputErrors, RefusalError


def uniform(n=200, seed=1):
    return LooPit("made-up", np.random.default_rng(seed).uniform(size=n), np.zeros(n), 0.7)


def test_values_are_the_dense_normal_distribution_functions_in_smoothed_weights(monkeypatch):
    monkeypatch.setattr(module, "NUMBERS", 3 * 17 * 60)
    fit = conditional_draws(from_frame("y ~ x + (1 | a) + (1 | b)", weights="w"), 2, 30)
    y, level = fit.spec.design.y, hlm.grouping(fit.spec, "a").level
    rows = np.array([3, 100, 239])
    density, below = np.empty((2, 2, 30, 3))
    for at, point in points_of(fit).items():
        mean, V = moments(fit, point, {"a", "b"})
        for place, i in enumerate(rows):
            others = np.flatnonzero((level == level[i]) & (np.arange(240) != i))
            gain = np.linalg.solve(V[np.ix_(others, others)], V[others, i])
            law = norm(mean[i] + gain @ (y - mean)[others], np.sqrt(V[i, i] - gain @ V[others, i]))
            density[*at, place], below[*at, place] = law.logpdf(y[i]), law.cdf(y[i])
    weights, k = smoothed_weights(density)
    found = hlm.loo_pit(fit)
    np.testing.assert_allclose(found.values[rows], np.sum(weights * below, axis=(0, 1)), rtol=1e-8)
    np.testing.assert_allclose(found.pareto_k[rows], k, rtol=1e-6)
    assert len(found.values) == 240
    again = hlm.loo_pit(fit, by="b")
    np.testing.assert_allclose(again.values, found.values, atol=0.1)
    assert np.max(np.abs(again.values - found.values)) > 1e-6


def test_without_random_terms_it_is_given_the_coefficients():
    fit = conditional_draws(from_frame("y ~ x"), 2, 100)
    likelihood = hlm.log_likelihood(fit)
    each = np.arange(240)
    weights, _ = smoothed_weights(likelihood.take(each))
    residual, _ = likelihood.predictive(each)
    expected = np.sum(weights * norm.cdf(residual), axis=(0, 1))
    np.testing.assert_allclose(hlm.loo_pit(fit).values, expected, rtol=1e-9)


def test_of_data_that_the_model_made_they_are_uniform_and_of_others_not():
    spec, rng = hlm.build("sleepstudy-slopes"), np.random.default_rng(3)
    [block] = spec.blocks
    b = rng.normal(size=(18, 2)) * [25, 6]
    mean = spec.design.X @ [250, 10] + np.sum(block.z * b[block.level], axis=1)
    right = spec.with_response(mean + 25 * rng.normal(size=180))
    wrong = spec.with_response(mean + 25 * (rng.exponential(size=180) ** 2 - 2))
    p = [hlm.loo_pit(conditional_draws(one, 2, 200)).p for one in (right, wrong)]
    assert p[0] > 0.01
    assert p[1] < 0.001


def test_the_verdict_is_that_of_uniform_ranks():
    found = uniform()
    ranks = np.floor(100 * found.values).astype(int)
    law = UniformRanks(200, 99)
    assert found.strayed == law.strayed(ranks)
    assert found.p == found.strayed.p
    np.testing.assert_array_equal(found.shares, np.arange(1, 100) / 100)
    expected = [np.mean(found.values < share) for share in found.shares]
    np.testing.assert_allclose(found.ecdf, expected, atol=1e-12)
    band = found.band(0.95)
    np.testing.assert_array_equal(band.lower, law.band(0.05).lower)
    np.testing.assert_array_equal(band.upper, law.band(0.05).upper)
    inside = np.all((band.lower <= 200 * found.ecdf) & (200 * found.ecdf <= band.upper))
    assert inside == (found.p >= 0.05)
    assert found.check().status == "pass"


def test_values_that_are_not_uniform_are_told():
    values = np.random.default_rng(1).beta(0.4, 0.4, size=300)
    check = LooPit("made-up", values, np.zeros(300), 0.7).check()
    assert (check.code, check.status) == ("loo_pit", "warn")
    assert check.value < 0.01
    assert check.message.endswith("so far from uniform (-0.097 at 0.98)")


def test_ends_and_what_is_not_a_number_have_their_place():
    edge = LooPit("made-up", np.array([0.0, 1.0, np.nan, 0.5]), np.array([0, 0, np.inf, 0.8]), 0.7)
    np.testing.assert_allclose(edge.ecdf[[0, 49, 50, 98]], [1 / 3, 1 / 3, 2 / 3, 2 / 3])
    assert edge.bad == 2


def test_of_very_many_values_some_are_looked_at(monkeypatch):
    monkeypatch.setattr(module, "MOST", 50)
    assert UniformRanks(50, 99).strayed(uniform()._ranks) == uniform().strayed
    assert len(uniform()._ranks) == 50


def test_the_frame_and_what_is_refused():
    found = uniform(5)
    assert found.frame().columns.tolist() == ["pit", "pareto_k"]
    assert found.frame().index.name == "row"
    with pytest.raises(InputErrors, match="level: a number between 0 and 1 is needed, not 95"):
        found.band(95)
    with pytest.raises(RefusalError, match="loo_pit takes draws"):
        hlm.loo_pit(hlm.fit("pastes", engine="reml"))
