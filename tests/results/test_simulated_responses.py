import numpy as np
import pytest

from hlm_models.errors import InputErrors
from hlm_models.results.extract import fitted
from hlm_models.results.simulate import simulate

DRAWS = 4000


def marginal_covariance(fit):
    design = fit.spec.design
    weights = np.ones(design.n) if design.weights is None else design.weights
    V = np.diag(fit.sigma**2 / weights)
    for block, estimate in zip(design.blocks, fit.random, strict=True):
        same = block.level[:, None] == block.level
        V += same * (block.z @ estimate.cov @ block.z.T)
    return V


@pytest.mark.parametrize("name", ["uneven", "penicillin"])
def test_draws_with_new_effects_have_the_moments_of_the_marginal_model(fit_of, name):
    fit = fit_of(name)
    draws = simulate(fit, DRAWS, seed=4)
    assert draws.shape == (fit.spec.design.n, DRAWS)
    V = marginal_covariance(fit)
    sd = np.sqrt(np.diag(V))
    # Standard errors of a mean and of a correlation are 1/sqrt(draws), or less: five of them.
    error = (draws.mean(axis=1) - fitted(fit, "population")) / sd
    assert np.abs(error).max() < 5 / np.sqrt(DRAWS)
    off = np.corrcoef(draws) - V / np.outer(sd, sd)
    assert np.abs(off).max() < 5.5 / np.sqrt(DRAWS)
    np.testing.assert_allclose(draws.std(axis=1), sd, rtol=5 / np.sqrt(2 * DRAWS))


def test_draws_with_the_effects_kept_vary_around_the_fitted_values(fit_of):
    fit = fit_of("uneven")
    draws = simulate(fit, DRAWS, seed=4, groups="existing")
    scale = fit.sigma / np.sqrt(fit.spec.design.weights)
    error = (draws.mean(axis=1) - fitted(fit)) / scale
    assert np.abs(error).max() < 5 / np.sqrt(DRAWS)
    np.testing.assert_allclose(draws.std(axis=1), scale, rtol=5 / np.sqrt(2 * DRAWS))


def test_the_seed_gives_the_draws_however_many_are_asked_for(fit_of):
    fit = fit_of("pastes")
    few, many = simulate(fit, 2, seed=9), simulate(fit, 5, seed=9)
    np.testing.assert_array_equal(few, many[:, :2])
    assert (simulate(fit, 2, seed=10) != few).all()


def test_unknown_groups_and_no_draws_are_refused(fit_of):
    with pytest.raises(InputErrors, match="groups is new or existing, not 'typical'"):
        simulate(fit_of("pastes"), seed=1, groups="typical")
    with pytest.raises(InputErrors, match="draws: a whole number of at least 1"):
        simulate(fit_of("pastes"), 0, seed=1)
    with pytest.raises(InputErrors, match="seed: a whole number from 0 on is needed, not None"):
        simulate(fit_of("pastes"), 1, seed=None)
