"""BLUPs and their derivatives: closed forms, the wide form, finite differences."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from hlm_models.algebra.blup import (
    blup,
    marginal_blup,
    penalised_blup,
    random_intercept,
    scores,
    shrinkage_factor,
    shrinkage_weights,
)
from hlm_models.algebra.blup_gradients import (
    blup_derivative,
    blup_jacobian,
    deviance_gradient,
    fitted_derivative,
    shrinkage_factor_derivative,
    squared_loss_gradient,
)
from hlm_models.algebra.criterion import full_deviance
from hlm_models.algebra.crossed import sweep
from hlm_models.algebra.gram import Gram
from hlm_models.algebra.kernel import one_factor
from hlm_models.algebra.khatri_rao import (
    augmented_least_squares,
    khatri_rao,
    penalty_root,
    term_to_group,
)
from hlm_models.api.models import build
from hlm_models.types import frozen


def made_up(seed, *, q=2, J=7, rows=(1, 6)):
    """z (n, q), level (n,), r (n,), Psi (q, q) and sigma2; some groups have fewer rows than q."""
    rng = np.random.default_rng(seed)
    level = np.repeat(np.arange(J), rng.integers(rows[0], rows[1] + 1, J))
    rng.shuffle(level)
    n = len(level)
    z = np.column_stack([np.ones(n), rng.normal(size=(n, q - 1))])
    root = rng.normal(size=(q, q)) + np.eye(q)
    return z, level, rng.normal(size=n), root @ root.T, float(rng.uniform(0.3, 2))


def blocks(z, level, r, J):
    rows = [level == j for j in range(J)]
    return (
        np.array([z[here].T @ z[here] for here in rows]),
        np.array([z[here].T @ r[here] for here in rows]),
    )


def difference(function, x, direction, h=1e-4):
    """Derivative along a direction by central differences, right to the fourth order of h."""

    def step(size):
        return function(x + size * direction) - function(x - size * direction)

    return (8 * step(h) - step(2 * h)) / (12 * h)


# Closed forms ------------------------------------------------------------------------------------


def test_the_shrinkage_factor_keeps_nothing_without_variance_and_all_with_infinite_variance():
    n = np.array([1.0, 5.0, 20.0])
    mean = np.array([0.3, -1.0, 2.0])
    assert np.array_equal(random_intercept(n, mean, 0.0, 0.5), [0.0, 0.0, 0.0])
    assert np.array_equal(random_intercept(n, mean, np.inf, 0.5), mean)
    assert shrinkage_factor(5, 0.8, 0.5) == pytest.approx(4 / 4.5, rel=1e-15)


@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 9))
def test_the_three_forms_of_the_blup_are_one(seed, q, J):
    z, level, r, Psi, sigma2 = made_up(seed, q=q, J=J)
    G, h = blocks(z, level, r, J)
    b, cov = blup(G, h, Psi, sigma2)
    # Psi is as badly conditioned as (condition of a normal matrix)^2 can make it.
    size = np.abs(b).max() * max(1.0, np.linalg.cond(Psi) * 1e-6)
    assert np.abs(b - penalised_blup(G, h, Psi, sigma2)).max() <= 1e-9 * size + 1e-12
    for j in range(J):
        here = level == j
        assert np.allclose(b[j], marginal_blup(z[here], r[here], Psi, sigma2), atol=1e-10 * size)
        V = z[here] @ Psi @ z[here].T + sigma2 * np.eye(here.sum())
        conditional = Psi - Psi @ z[here].T @ np.linalg.solve(V, z[here] @ Psi)
        assert np.allclose(cov[j], conditional, atol=1e-9 * np.abs(Psi).max())


def test_with_one_intercept_the_general_form_is_the_closed_form():
    z, level, r, _, sigma2 = made_up(3, q=1)
    G, h = blocks(z, level, r, 7)
    n = G[:, 0, 0]
    b, cov = blup(G, h, np.array([[0.8]]), sigma2)
    assert np.allclose(b[:, 0], random_intercept(n, h[:, 0] / n, 0.8, sigma2), rtol=1e-13)
    assert np.allclose(cov[:, 0, 0], 0.8 * (1 - shrinkage_factor(n, 0.8, sigma2)), rtol=1e-12)


def test_a_singular_covariance_is_the_limit_of_regular_ones():
    z, level, r, _, sigma2 = made_up(5, q=3)
    G, h = blocks(z, level, r, 7)
    direction = np.array([1.0, -2.0, 0.5])
    singular = np.outer(direction, direction)
    b, cov = blup(G, h, singular, sigma2)
    near, near_cov = blup(G, h, singular + 1e-9 * np.eye(3), sigma2)
    assert np.allclose(b, near, atol=1e-7)
    assert np.allclose(cov, near_cov, atol=1e-7)
    assert np.allclose(np.cross(b, direction), 0, atol=1e-12)
    here = level == 2
    assert np.allclose(b[2], marginal_blup(z[here], r[here], singular, sigma2), atol=1e-12)
    assert not blup(G, h, np.zeros((3, 3)), sigma2)[0].any()


def test_shrunken_coefficients_are_a_matrix_weighted_average_of_ols_and_population():
    X, level, y, Psi, sigma2 = made_up(11, q=2, J=5, rows=(3, 8))
    beta = np.array([0.4, -0.7])
    G, h = blocks(X, level, y - X @ beta, 5)
    ols = np.array([np.linalg.lstsq(X[level == j], y[level == j], rcond=None)[0] for j in range(5)])
    w = shrinkage_weights(G, Psi, sigma2)
    average = np.einsum("jab,jb->ja", w, ols) + (np.eye(2) - w) @ beta
    assert np.allclose(average, beta + blup(G, h, Psi, sigma2)[0], rtol=1e-11)
    assert np.allclose(shrinkage_weights(G, 1e9 * np.eye(2), sigma2), np.eye(2), atol=1e-7)
    assert not shrinkage_weights(G, np.zeros((2, 2)), sigma2).any()


# The wide form -----------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["group", "term"])
def test_augmented_least_squares_gives_the_blups(order):
    z, level, r, Psi, sigma2 = made_up(7, q=3, J=6)
    Z, B = khatri_rao(level, 6, z, order=order), penalty_root(Psi, sigma2, 6, order=order)
    one, inverse = np.eye(6), sigma2 * np.linalg.inv(Psi)
    wanted = np.kron(one, inverse) if order == "group" else np.kron(inverse, one)
    assert np.allclose((B.T @ B).toarray(), wanted, rtol=1e-10)
    stacked = np.vstack([Z.toarray(), B.toarray()])
    dense = np.linalg.lstsq(stacked, np.append(r, np.zeros(18)), rcond=None)[0]
    b = augmented_least_squares(Z, B, r)
    assert np.allclose(b, dense, atol=1e-10)
    by_group = b if order == "group" else b[term_to_group(6, 3)]
    assert np.allclose(by_group.reshape(6, 3), blup(*blocks(z, level, r, 6), Psi, sigma2)[0])


def test_the_two_orders_are_a_permutation_of_each_other():
    z, level, *_ = made_up(8, q=2, J=5)
    by_term = khatri_rao(level, 5, z, order="term").toarray()
    indicator = np.eye(5)[level]
    assert np.array_equal(by_term, np.hstack([indicator * z[:, :1], indicator * z[:, 1:]]))
    by_group = khatri_rao(level, 5, z, order="group").toarray()
    assert np.array_equal(by_group, by_term[:, term_to_group(5, 2)])
    assert np.array_equal(by_group, indicator.repeat(2, axis=1) * np.tile(z, 5))


# Gradients ---------------------------------------------------------------------------------------


def test_the_derivative_of_the_shrinkage_factor_is_n_sigma2_over_the_square():
    assert shrinkage_factor_derivative(5, 0.8, 0.5) == pytest.approx(0.1234568, abs=5e-8)
    slope = difference(lambda v: shrinkage_factor(5, v, 0.5), 0.8, 1.0)
    assert shrinkage_factor_derivative(5, 0.8, 0.5) == pytest.approx(float(slope), rel=1e-8)


@given(st.integers(0, 10_000), st.integers(1, 3))
def test_derivatives_of_blups_and_fitted_values_meet_finite_differences(seed, q):
    z, level, r, Psi, sigma2 = made_up(seed, q=q)
    G, h = blocks(z, level, r, 7)
    rng = np.random.default_rng(seed)
    step = rng.normal(size=(q, q))
    for dPsi in (step, step + step.T):
        db = blup_derivative(G, h, Psi, sigma2, dPsi)
        slope = difference(lambda at: blup(G, h, at, sigma2)[0], Psi, dPsi)
        assert np.allclose(db, slope, rtol=1e-6, atol=1e-6)
        assert np.allclose(
            db, np.einsum("jcab,ab->jc", blup_jacobian(G, h, Psi, sigma2), dPsi), atol=1e-12
        )

        def fitted(at):
            return np.sum(z * blup(G, h, at, sigma2)[0][level], axis=1)

        assert np.allclose(
            fitted_derivative(z, level, db), difference(fitted, Psi, dPsi), rtol=1e-6, atol=1e-6
        )
    everything = fitted_derivative(z, level, blup_jacobian(G, h, Psi, sigma2))
    assert everything.shape == (len(r), q, q)
    assert np.allclose(
        np.einsum("nab,ab->n", everything, dPsi), fitted_derivative(z, level, db), atol=1e-10
    )


def test_the_derivative_is_the_textbook_one_where_psi_has_an_inverse():
    z, level, r, Psi, sigma2 = made_up(21, q=2)
    G, h = blocks(z, level, r, 7)
    dPsi = np.array([[0.3, -0.1], [-0.1, 0.9]])
    inverse = np.linalg.inv(Psi)
    b = blup(G, h, Psi, sigma2)[0]
    right = sigma2 * inverse @ dPsi @ inverse @ b.T
    textbook = np.linalg.solve(G + sigma2 * inverse, right.T[..., None])[..., 0]
    assert np.allclose(blup_derivative(G, h, Psi, sigma2, dPsi), textbook, rtol=1e-10)
    assert np.allclose(scores(G, h, Psi, sigma2), b @ inverse, rtol=1e-10)


def test_a_derivative_away_from_zero_variance_exists():
    z, level, r, _, sigma2 = made_up(22, q=2)
    G, h = blocks(z, level, r, 7)
    zero, dPsi = np.zeros((2, 2)), np.array([[2.0, 0.5], [0.5, 1.0]])
    slope = difference(lambda at: blup(G, h, at, sigma2)[0], zero, dPsi)
    assert np.allclose(blup_derivative(G, h, zero, sigma2, dPsi), slope, rtol=1e-6, atol=1e-8)
    assert np.allclose(slope, h @ dPsi / sigma2, rtol=1e-6)


@given(st.integers(0, 10_000), st.integers(1, 3))
def test_the_gradient_of_the_squared_loss_meets_finite_differences(seed, q):
    z, level, r, Psi, sigma2 = made_up(seed, q=q)
    G, h = blocks(z, level, r, 7)
    step = np.random.default_rng(seed).normal(size=(q, q))

    def loss(at):
        return np.sum((r - np.sum(z * blup(G, h, at, sigma2)[0][level], axis=1)) ** 2)

    gradient = squared_loss_gradient(G, h, Psi, sigma2)
    assert np.array_equal(gradient, gradient.T)
    slope = difference(loss, Psi, step + step.T)
    assert np.sum(gradient * (step + step.T)) == pytest.approx(slope, rel=1e-6, abs=1e-6)
    assert np.sum(gradient * Psi) <= 0


def test_with_one_intercept_the_gradient_of_the_loss_is_the_scalar_formula():
    z, level, r, _, _ = made_up(31, q=1)
    G, h = blocks(z, level, r, 7)
    n, mean = G[:, 0, 0], h[:, 0] / G[:, 0, 0]
    e = r - random_intercept(n, mean, 0.8, 0.5)[level]
    total = -2 * np.sum(e * (mean * shrinkage_factor_derivative(n, 0.8, 0.5))[level])
    assert squared_loss_gradient(G, h, np.array([[0.8]]), 0.5)[0, 0] == pytest.approx(total)


# The criterion -----------------------------------------------------------------------------------


def sleepstudy():
    """Gram blocks of sleepstudy in raw columns, and the rows they are of."""
    design = build("sleepstudy-slopes").design
    block = design.blocks[0]
    W = np.column_stack([design.X, design.y])
    rows = [block.level == j for j in range(block.J)]
    G = np.stack([block.z[here].T @ block.z[here] for here in rows], axis=-1)
    H = np.stack([block.z[here].T @ W[here] for here in rows], axis=-1)
    return Gram(frozen(G), frozen(H), frozen(W.T @ W), design.n), design


def dense_deviance(design, Psi, sigma, *, reml):
    """Minus twice the log likelihood from the n x n covariance of y, beta profiled out."""
    block, X, y = design.blocks[0], design.X, design.y
    Z = khatri_rao(block.level, block.J, block.z, order="group").toarray()
    V = Z @ np.kron(np.eye(block.J), Psi) @ Z.T + sigma**2 * np.eye(design.n)
    solved = np.linalg.solve(V, np.column_stack([X, y]))
    XVX = X.T @ solved[:, :-1]
    r = y - X @ np.linalg.solve(XVX, X.T @ solved[:, -1])
    df = design.n - design.p * reml
    value = np.linalg.slogdet(V)[1] + r @ np.linalg.solve(V, r) + df * np.log(2 * np.pi)
    return value + reml * np.linalg.slogdet(XVX)[1]


@pytest.mark.parametrize("reml", [True, False])
def test_the_gradient_of_the_criterion_meets_finite_differences_of_a_dense_likelihood(reml):
    gram, design = sleepstudy()
    Psi, sigma = np.array([[500.0, 20.0], [20.0, 40.0]]), 27.0
    Lambda = np.linalg.cholesky(Psi) / sigma
    value, *chained = full_deviance(one_factor(Lambda, gram), gram.n, sigma, reml=reml)
    (gradient,), slope = deviance_gradient((Lambda,), sigma, *chained)
    assert value == pytest.approx(dense_deviance(design, Psi, sigma, reml=reml), rel=1e-10)
    for dPsi in (np.diag([1.0, 0.0]), np.diag([0.0, 1.0]), np.array([[0.0, 1.0], [1.0, 0.0]])):
        wanted = difference(lambda P: dense_deviance(design, P, sigma, reml=reml), Psi, dPsi, 0.01)
        # Rounding of the dense value over the step: 1e-13 * 1700 / 0.02.
        assert np.sum(gradient * dPsi) == pytest.approx(wanted, rel=1e-6, abs=1e-7)
    wanted = difference(lambda s: dense_deviance(design, Psi, s, reml=reml), sigma, 1.0, 1e-3)
    assert slope == pytest.approx(wanted, rel=1e-6, abs=1e-6)


def test_the_gradient_of_the_criterion_of_crossed_factors_meets_finite_differences():
    blocks = build("penicillin").design.coupled
    variances, sigma = np.array([0.7, 3.0]), 0.6

    def at(variances, sigma):
        Lambda = tuple(np.array([[np.sqrt(v) / sigma]]) for v in variances)
        value, *chained = full_deviance(sweep(Lambda, blocks), blocks.n, sigma, reml=True)
        return value, *deviance_gradient(Lambda, sigma, *chained)

    _, gradient, slope = at(variances, sigma)
    for f in range(2):
        wanted = difference(lambda v: at(v, sigma)[0], variances, np.eye(2)[f])
        assert gradient[f][0, 0] == pytest.approx(wanted, rel=1e-6)
    assert slope == pytest.approx(difference(lambda s: at(variances, s)[0], sigma, 1.0), rel=1e-6)


def test_descent_along_the_gradients_reaches_the_optimum_found_without_derivatives():
    gram, _ = sleepstudy()
    rows, columns = np.tril_indices(2)

    def lower(x):
        L = np.zeros((2, 2))
        L[rows, columns] = x[:3] * 10
        return L

    def deviance(x):
        L, sigma = lower(x), np.exp(x[3])
        value, *chained = full_deviance(one_factor(L / sigma, gram), gram.n, sigma, reml=True)
        (dPsi,), dsigma = deviance_gradient((L / sigma,), sigma, *chained)
        return value, np.append(20 * (dPsi @ L)[rows, columns], dsigma * sigma)

    start = np.array([1.0, 0.0, 1.0, 3.0])
    descent = minimize(deviance, start, jac=True, method="BFGS", options={"gtol": 1e-6})
    free = minimize(
        lambda x: deviance(x)[0],
        start,
        method="Nelder-Mead",
        options={"xatol": 1e-7, "fatol": 1e-10, "maxiter": 4000, "maxfev": 4000},
    )
    assert free.success
    assert descent.fun == pytest.approx(free.fun, abs=1e-7)
    Psi = [lower(x) @ lower(x).T for x in (descent.x, free.x)]
    assert np.allclose(*Psi, rtol=1e-3)
    # The REML criterion that lme4 prints for this model.
    assert descent.fun == pytest.approx(1743.6283, abs=5e-4)
