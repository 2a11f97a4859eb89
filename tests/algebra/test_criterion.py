import math

import numpy as np
import pandas as pd
import pytest

from hlm_models.algebra.criterion import full_deviance, profiled
from hlm_models.algebra.gram import Gram
from hlm_models.algebra.kernel import one_factor
from hlm_models.parts import datasets

Q, J, N = 2, 9, 40


def made_up(p, seed=1):
    rng = np.random.default_rng(seed)
    z = np.column_stack([np.ones(N), rng.normal(size=N)])
    level = np.append(np.arange(J), rng.integers(0, J, N - J))
    X = np.column_stack([np.ones(N), rng.normal(size=(N, 3))])[:, :p]
    y = X @ np.arange(1, p + 1) + rng.normal(size=J)[level] + rng.normal(size=N)
    return z, level, X, y


def pass_at(Lambda, data):
    z, level, X, y = data
    W = np.column_stack([X, y])
    rows = [level == j for j in range(level.max() + 1)]
    G = np.stack([z[here].T @ z[here] for here in rows], axis=-1)
    H = np.stack([z[here].T @ W[here] for here in rows], axis=-1)
    return one_factor(Lambda, Gram(G, H, W.T @ W, len(y)))


def textbook(Lambda, data, *, sigma=None, reml):
    """-2 log (restricted) likelihood, beta and sigma: Searle et al. (1992), chapter 6, dense."""
    z, level, X, y = data
    n, p = X.shape
    same = level[:, None] == level[None, :]
    V = np.eye(n) + same * (z @ Lambda @ Lambda.T @ z.T)
    XVX = X.T @ np.linalg.solve(V, X)
    beta = np.linalg.solve(XVX, X.T @ np.linalg.solve(V, y)) if p else np.zeros(0)
    rest = y - X @ beta
    r2 = float(rest @ np.linalg.solve(V, rest))
    df = n - p if reml else n
    sigma = math.sqrt(r2 / df) if sigma is None else sigma
    value = np.linalg.slogdet(V)[1] + df * math.log(2 * math.pi * sigma**2) + r2 / sigma**2
    if reml and p:
        value += np.linalg.slogdet(XVX)[1]
    return value, beta, sigma


LAMBDAS = {
    "triangular": np.array([[0.8, 0.0], [-0.3, 0.5]]),
    "singular": np.array([[0.8, 0.0], [0.4, 0.0]]),
    "zero": np.zeros((2, 2)),
}


@pytest.mark.parametrize("sort", LAMBDAS)
@pytest.mark.parametrize("p", [0, 1, 4])
@pytest.mark.parametrize("reml", [True, False])
def test_criterion_away_from_the_optimum_is_the_textbook_formula(p, reml, sort):
    data, Lambda = made_up(p), LAMBDAS[sort]
    at = profiled(pass_at(Lambda, data), N, reml=reml)
    value, beta, sigma = textbook(Lambda, data, reml=reml)
    # Well-conditioned and of order one: only rounding separates the two routes.
    assert at.value == pytest.approx(value, rel=1e-12)
    assert at.sigma == pytest.approx(sigma, rel=1e-12)
    np.testing.assert_allclose(at.beta, beta, rtol=1e-11)


@pytest.mark.parametrize("sort", LAMBDAS)
@pytest.mark.parametrize("p", [0, 1, 4])
@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("sigma", [0.3, 1.0, 4.0])
def test_full_deviance_is_the_textbook_formula(p, reml, sigma, sort):
    data, Lambda = made_up(p), LAMBDAS[sort]
    value, _, _ = full_deviance(pass_at(Lambda, data), N, sigma, reml=reml)
    assert value == pytest.approx(textbook(Lambda, data, sigma=sigma, reml=reml)[0], rel=1e-12)


@pytest.mark.parametrize("reml", [True, False])
def test_profiling_sigma_is_minimising_the_full_deviance(reml):
    data, Lambda = made_up(3), LAMBDAS["triangular"]
    found = pass_at(Lambda, data)
    at = profiled(found, N, reml=reml)
    value, M, slope = full_deviance(found, N, at.sigma, reml=reml)
    assert value == pytest.approx(at.value, rel=1e-13)
    np.testing.assert_allclose(M[0], at.M[0], rtol=1e-10, atol=1e-10)
    assert slope == pytest.approx(0.0, abs=1e-10)


def differences(function, x, h=1e-5):
    """Central differences, of error about 1e-9 for values of order a hundred."""
    out = np.empty(len(x))
    for i in range(len(x)):
        step = np.zeros(len(x))
        step[i] = h
        out[i] = (function(x + step) - function(x - step)) / (2 * h)
    return out


@pytest.mark.parametrize("p", [0, 4])
@pytest.mark.parametrize("reml", [True, False])
def test_gradient_of_the_criterion_equals_differences_of_the_textbook(p, reml):
    data, Lambda = made_up(p), np.array([[0.8, 0.1], [-0.3, 0.5]])
    at = profiled(pass_at(Lambda, data), N, reml=reml)
    numeric = differences(lambda x: textbook(x.reshape(2, 2), data, reml=reml)[0], Lambda.ravel())
    np.testing.assert_allclose((2 * at.M[0] @ Lambda).ravel(), numeric, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("p", [0, 4])
@pytest.mark.parametrize("reml", [True, False])
def test_gradient_of_the_full_deviance_equals_differences_of_the_textbook(p, reml):
    data, Lambda, sigma = made_up(p), np.array([[0.8, 0.1], [-0.3, 0.5]]), 1.3
    _, M, slope = full_deviance(pass_at(Lambda, data), N, sigma, reml=reml)

    def value(x):
        return textbook(x[:4].reshape(2, 2), data, sigma=math.exp(x[4]), reml=reml)[0]

    numeric = differences(value, np.append(Lambda.ravel(), math.log(sigma)))
    mine = np.append((2 * M[0] @ Lambda).ravel(), slope)
    np.testing.assert_allclose(mine, numeric, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("reml", [True, False])
def test_M_is_the_derivative_about_P_on_the_boundary_too(reml):
    # At Lambda = 0 the gradient in Lambda vanishes whatever the data; M does not.
    data, direction = made_up(3), np.array([[0.7, 0.2], [0.2, 0.4]])
    at = profiled(pass_at(np.zeros((2, 2)), data), N, reml=reml)
    root = np.linalg.cholesky(direction)
    h = 1e-6
    ahead = [textbook(math.sqrt(t) * root, data, reml=reml)[0] for t in (0.0, h, 2 * h)]
    # One-sided, of second order: error h^2 and eps * 100 / h.
    numeric = (-3 * ahead[0] + 4 * ahead[1] - ahead[2]) / (2 * h)
    assert np.trace(at.M[0] @ direction) == pytest.approx(numeric, rel=1e-6)


@pytest.mark.golden
def test_dyestuff_objective_at_a_theta_that_is_not_optimal_is_that_of_mixedmodels():
    frame = pd.read_csv(f"{datasets.__path__[0]}/dyestuff.csv")
    level, _ = pd.factorize(frame["batch"])
    n = len(frame)
    # Shifted y: beta moves, the criterion does not, and no digit of y'y is lost.
    y = frame["yield"].to_numpy(float) - frame["yield"].mean()
    data = np.ones((n, 1)), level, np.ones((n, 1)), y
    at = profiled(pass_at(np.array([[0.713]]), data), n, reml=False)
    # MixedModels.jl test/pls.jl at 2228a9a1: objective(updateL!(setθ!(fm1, [0.713]))).
    assert at.value == pytest.approx(327.34216280954615, rel=1e-12)
