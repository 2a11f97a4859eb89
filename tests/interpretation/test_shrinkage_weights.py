import numpy as np
import pytest

import hlm_models as hlm
from hlm_models.errors import InputErrors
from hlm_models.interpretation.group_ols import group_ols
from hlm_models.interpretation.shrinkage import shrinkage


def dense_weights(block, root, Psi, sigma, first=None):
    """w_j by n_j x n_j covariances (J, q, q), of the first few levels."""
    found = []
    for j in range(first or block.J):
        Z = block.z[block.level == j] * root[block.level == j, None]
        V = Z @ Psi @ Z.T + sigma**2 * np.eye(len(Z))
        found.append(Psi @ Z.T @ np.linalg.solve(V, Z))
    return np.array(found)


def root_of(design):
    return np.ones(design.n) if design.weights is None else np.sqrt(design.weights)


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("sleepstudy-slopes", None),
        ("uneven", None),
        ("eight-schools", None),
        ("hsb-slopes-as-outcomes", None),
        ("grunfeld-slopes", None),
        ("penicillin", "plate"),
        ("penicillin", "sample"),
        ("pastes", "batch"),
    ],
)
def test_weights_average_the_levels_least_squares_and_what_is_expected(fit_of, name, group):
    fit = fit_of(name)
    found = shrinkage(fit, group)
    [at] = [i for i, one in enumerate(fit.spec.blocks) if one.group == found.group]
    block, estimate = fit.spec.blocks[at], fit.random[at]
    dense = dense_weights(block, root_of(fit.spec.design), estimate.cov, fit.sigma)
    np.testing.assert_allclose(found.weights, dense, atol=1e-9 * max(1, np.abs(dense).max()))
    known = ~np.isnan(found.own).any(axis=1)
    mean = found.expected + np.einsum("jab,jb->ja", found.weights, found.own - found.expected)
    np.testing.assert_allclose(mean[known], found.shrunk[known], rtol=1e-9)
    np.testing.assert_allclose(found.shrunk - found.expected, estimate.b, atol=1e-9)
    assert found.eigenvalues.min() > -1e-12
    assert found.eigenvalues.max() < 1 + 1e-12
    assert found.given == tuple(one.group for one in fit.spec.blocks if one is not block)


def test_random_intercepts_have_the_factor_of_the_textbooks(fit_of):
    fit = fit_of("hsb-oneway")
    n, psi = fit.spec.blocks[0].sizes, fit.random[0].cov[0, 0]
    found = shrinkage(fit)
    np.testing.assert_allclose(found.weights[:, 0, 0], n * psi / (fit.sigma**2 + n * psi))
    np.testing.assert_allclose(found.reliability[:, 0], found.weights[:, 0, 0])
    assert np.isnan(found.lower).all()


def test_known_standard_deviations_shrink_as_in_a_meta_analysis(fit_of):
    fit = fit_of("eight-schools")
    psi, sd2 = fit.random[0].cov[0, 0], 1 / fit.spec.design.weights
    np.testing.assert_allclose(shrinkage(fit).weights[:, 0, 0], psi / (psi + sd2), rtol=1e-12)


@pytest.mark.golden
def test_weights_and_reliabilities_are_the_formulas_of_r(fit_of, golden):
    found = shrinkage(fit_of("sleepstudy-slopes"))
    # lme4's theta is the optimum to five digits.
    np.testing.assert_allclose(found.weights[0], golden["sleepstudy"]["weights"], atol=1e-5)
    np.testing.assert_allclose(
        found.overall()["reliability"], golden["sleepstudy"]["reliability"], rtol=1e-5
    )


def test_own_estimates_are_the_groups_least_squares_where_all_coefficients_vary(fit_of):
    fit = fit_of("sleepstudy-slopes")
    np.testing.assert_allclose(shrinkage(fit).own, group_ols(fit).estimate, rtol=1e-9)


def test_cross_level_interactions_move_what_is_expected(fit_of):
    fit = fit_of("uneven")
    beta, u = dict(zip(fit.spec.design.coef, fit.beta, strict=True)), np.arange(8.0)
    expected = shrinkage(fit).expected
    np.testing.assert_allclose(expected[:, 0], beta["Intercept"] + beta["u"] * u)
    np.testing.assert_allclose(expected[:, 1], beta["x"] + beta["x:u"] * u, rtol=1e-9)


@pytest.mark.parametrize(("theta", "weight"), [([1e6, 0, 1e6], 1.0), ([0, 0, 0], 0.0)])
def test_weights_go_to_one_and_to_zero_with_psi(theta, weight):
    spec = hlm.build("sleepstudy-slopes", overrides=[f"reml.theta={theta}"])
    found = shrinkage(hlm.fit(spec, engine="reml"))
    np.testing.assert_allclose(
        found.weights, np.broadcast_to(weight * np.eye(2), (18, 2, 2)), atol=1e-9
    )


def test_a_level_that_cannot_tell_has_weights_but_no_least_squares(fit_of):
    found = shrinkage(fit_of("uneven")).frame().set_index(["g", "effect"])
    assert np.isnan(found.loc[("g0", "x"), "own"])
    assert np.isnan(found.loc[("g6", "x"), "own"])
    assert 0 < found.loc[("g6", "x"), "weight"] < 1


@pytest.mark.parametrize("name", ["sleepstudy-slopes", "hsb-oneway"])
def test_a_posterior_has_the_weights_of_its_draws(posterior_of, name):
    fit = posterior_of(name)
    found = shrinkage(fit, level=0.8)
    block, data = fit.spec.blocks[0], fit.data["posterior"].to_dataset().stack(s=("chain", "draw"))
    root, each = root_of(fit.spec.design), []
    for s in range(data.sizes["s"]):
        sd = data[f"sd_{block.group}"].values[..., s]
        Psi = sd[:, None] * data[f"corr_{block.group}"].values[..., s] * sd
        each.append(dense_weights(block, root, Psi, float(data["sigma"].values[s]), first=5))
    np.testing.assert_allclose(found.weights[:5], np.mean(each, axis=0), rtol=1e-9)
    diagonal = np.diagonal(np.array(each), axis1=2, axis2=3)
    np.testing.assert_allclose(found.lower[:5], np.quantile(diagonal, 0.1, axis=0), rtol=1e-9)
    b = data[f"b_{block.group}"].values.mean(axis=-1)
    np.testing.assert_allclose(found.shrunk - found.expected, b, rtol=1e-9)


def test_what_is_no_fit_or_no_group_is_refused(fit_of):
    with pytest.raises(InputErrors, match="shrinkage takes a fit"):
        shrinkage("hsb-oneway")
    with pytest.raises(InputErrors, match="several groups"):
        shrinkage(fit_of("penicillin"))
