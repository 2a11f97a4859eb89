"""The kernel of one factor: against the n x n covariance of y, and its own derivatives."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from dense_marginal import dense_marginal
from hypothesis import given
from hypothesis import strategies as st

from hlm_models import build
from hlm_models.algebra.integrated import (
    coefficients_work,
    integrate,
    one_factor_density,
    one_factor_work,
)
from hlm_models.spec.integration import integration
from hlm_models.types import frozen

N = 50
COLUMNS = ("a", "b", "c")
FLAT = {"kind": "flat"}
NORMAL = {"kind": "normal", "loc": 1.5, "scale": 4.0}
FREE = {"kind": "student_t", "df": 4, "loc": 0.5, "scale": 2.0}


def frame():
    rng = np.random.default_rng(12)
    return pd.DataFrame(
        {
            "y": rng.normal(20.0, 3.0, N),
            "a": rng.normal(7.0, 2.0, N),
            "b": rng.normal(-1.0, 0.1, N),
            "c": rng.normal(size=N),
            # Levels of very different sizes, one of them of a single row.
            "g": [f"g{int(i**0.6)}" for i in range(N)],
            "w": rng.uniform(0.1, 8.0, N),
            "o": rng.normal(3.0, 2.0, N),
        }
    )


@cache
def model(q, priors, weighed=False):
    """A model of q effects a level, its coefficients having these priors: p is how many."""
    terms = ["0" if not priors else "1", *COLUMNS[: max(len(priors) - 1, 0)]]
    bar = " + ".join(["1", *COLUMNS[: q - 1]])
    names = ["Intercept", *COLUMNS][: len(priors)]
    known = {"flat": FLAT, "normal": NORMAL, "free": FREE}
    beta = {name: known[one] for name, one in zip(names, priors, strict=True)}
    head = {"schema": 1, "name": "m", "data": {"source": "frame"}}
    more = {"weights": "w", "offset": "o"} if weighed else {}
    formula = f"y ~ {' + '.join(terms)} + ({bar} | g)"
    settings = {"formula": formula, "priors": {"beta": beta} if beta else {}, **more}
    return build(head | settings, data=frame())


def kernel(spec, lam, log_sigma, m, *, blocks=None, gaussian=None, work=None):
    products = spec.marginal.products
    blocks = (products.G, products.H, products.T) if blocks is None else blocks
    gaussian = integration(spec).gaussian if gaussian is None else gaussian
    q, k, _ = blocks[1].shape
    # Of the kinds of array that samplers hand over, so that it is compiled once.
    blocks, gaussian = (tuple(frozen(one.view()) for one in part) for part in (blocks, gaussian))
    gradient = np.full(q * q + k, np.nan)
    size = one_factor_work(q, k, len(gaussian[1]))
    work = np.full(size, np.nan) if work is None else work
    value = one_factor_density(
        np.array(lam).ravel(), float(log_sigma), np.array(m), blocks, gaussian, gradient, work
    )
    return value, gradient


def point(spec, seed):
    """sd, the factor of corr, sigma and the free coefficients."""
    rng = np.random.default_rng(seed)
    [block] = spec.blocks
    sd = rng.uniform(0.1, 4.0, block.q)
    A = rng.normal(size=(block.q, block.q + 2))
    root = np.linalg.cholesky(A @ A.T)
    factor = root / np.linalg.norm(root, axis=1, keepdims=True)
    return sd, factor, rng.uniform(0.3, 5.0), rng.normal(size=len(integration(spec).free))


def by_parameters(spec, sd, factor, sigma, free):
    """Value and derivatives of the kernel by what the twin has them by."""
    split = integration(spec)
    [scale] = spec.marginal.scales
    Lambda = scale.R @ (sd[:, None] * factor) / sigma
    value, gradient = kernel(spec, Lambda, np.log(sigma), split.m(free))
    q = len(sd)
    by_Lambda = gradient[: q * q].reshape(q, q)
    by_half = scale.R.T @ by_Lambda / sigma
    return value, {
        "sd": np.sum(by_half * factor, axis=1),
        "factor": sd[:, None] * by_half,
        # sigma is in Lambda too.
        "log_sigma": gradient[q * q] - np.sum(by_Lambda * Lambda),
        "beta_free": -split.turn.T @ gradient[q * q + 1 :],
    }


def assert_twins(spec, seed):
    sd, factor, sigma, free = point(spec, seed)
    twin = dense_marginal(spec, [sd], [factor], sigma, free)
    value, found = by_parameters(spec, sd, factor, sigma, free)
    expected = {
        "sd": twin.sd[0],
        "factor": twin.factor[0],
        "log_sigma": twin.log_sigma,
        "beta_free": twin.beta_free,
    }
    assert value == pytest.approx(twin.value, rel=1e-9)
    # Rounding is relative to the largest of the sums that a derivative is made of.
    largest = max(np.abs(one).max(initial=0.0) for one in expected.values())
    for name, one in expected.items():
        np.testing.assert_allclose(found[name], one, rtol=1e-9, atol=1e-9 * largest, err_msg=name)


@given(
    q=st.integers(1, 3),
    priors=st.lists(st.sampled_from(["flat", "normal", "free"]), max_size=4).map(tuple),
    weighed=st.booleans(),
    seed=st.integers(0, 10_000),
)
def test_value_and_gradient_are_those_of_one_dense_normal(q, priors, weighed, seed):
    assert_twins(model(q, priors, weighed), seed)


@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize("priors", [(), ("free",) * 3, ("flat",) * 3, ("normal",) * 3], ids=str)
def test_all_coefficients_of_one_kind_or_none_at_all(priors, weighed):
    spec = model(2, priors, weighed)
    split = integration(spec)
    assert split.Q.shape == (len(priors), 0 if "free" in priors else len(priors))
    for seed in range(3):
        assert_twins(spec, seed)


def test_effects_without_variance_and_ones_beyond_all_reason_are_those_of_the_twin():
    spec = model(2, ("flat", "normal", "free"))
    for sd in ([0.0, 0.0], [0.0, 2.0], [1e-7, 1e-9], [1e4, 1e-8], [300.0, 200.0]):
        _, factor, sigma, free = point(spec, 3)
        twin = dense_marginal(spec, [sd], [factor], sigma, free)
        value, found = by_parameters(spec, np.array(sd), factor, sigma, free)
        assert value == pytest.approx(twin.value, rel=1e-8)
        # Where numbers of very different size cancel the dense twin has lost them too.
        by_log = np.array(sd) * found["sd"], np.array(sd) * twin.sd[0]
        np.testing.assert_allclose(*by_log, rtol=1e-6, atol=1e-8)


# --- the coefficients by themselves ---


def cross_products(p, d, seed, number=float):
    """S of some rows, log|V|, and a prior of d of p coefficients, half of its directions flat."""
    rng = np.random.default_rng(seed)
    W = rng.normal(size=(30, p + 1))
    Q = np.linalg.qr(rng.normal(size=(p, p)))[0][:, :d]
    half = rng.normal(size=(d, d // 2))
    gaussian = (Q, rng.normal(size=d), half @ half.T, np.array([-3.0, 30.0]))
    m = rng.normal(size=p)
    arrays = [np.ascontiguousarray(one, dtype=number) for one in (W.T @ W, m, *gaussian)]
    return arrays[0], arrays[1], tuple(frozen(one) for one in arrays[2:])


def integrated(logdet, S, log_sigma, m, gaussian, function=integrate):
    p, d = gaussian[0].shape
    F, slopes = np.full((p + 1, p + 1), np.nan, S.dtype), np.full(p + 1, np.nan, S.dtype)
    work = np.full(coefficients_work(p, d), np.nan, S.dtype)
    return function(logdet, S, log_sigma, m, gaussian, F, slopes, work), F, slopes


SPLITS = [(0, 0), (1, 0), (1, 1), (3, 0), (3, 2), (3, 3), (4, 1)]


@pytest.mark.parametrize(("p", "d"), SPLITS)
def test_the_formula_of_the_docs_with_dense_matrices(p, d):
    S, m, gaussian = cross_products(p, d, seed=p + d)
    Q, loc, precision, (constant, n) = gaussian
    logdet, log_sigma = 1.3, 0.4
    variance = np.exp(2 * log_sigma)
    along = Q.T @ m
    u, mu = m - Q @ along, loc - along
    P = Q.T @ S[:p, :p] @ Q / variance + precision
    h = Q.T @ (S[:p, p] + S[:p, :p] @ u) / variance + precision @ mu
    c = (S[p, p] + 2 * u @ S[:p, p] + u @ S[:p, :p] @ u) / variance + mu @ precision @ mu
    expected = constant - n * log_sigma - logdet / 2 - np.linalg.slogdet(P)[1] / 2
    expected -= (c - h @ np.linalg.solve(P, h)) / 2
    assert integrated(logdet, S, log_sigma, m, gaussian)[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("p", "d"), SPLITS)
def test_its_derivatives_are_those_of_its_value(p, d):
    # The same lines in extended precision: differences lose nothing that matters.
    S, m, gaussian = cross_products(p, d, 5, np.longdouble)
    h = np.longdouble(1e-6)

    def value(log_sigma, m, S):
        return integrated(1.3, S, log_sigma, m, gaussian, integrate.py_func)[0]

    at = np.longdouble(0.4)
    small_S, small_m, small = cross_products(p, d, 5)
    _, F, slopes = integrated(1.3, small_S, 0.4, small_m, small)
    expected = [(value(at + h, m, S) - value(at - h, m, S)) / (2 * h)]
    expected += [
        (value(at, m + h * one, S) - value(at, m - h * one, S)) / (2 * h) for one in np.eye(p)
    ]
    expected = np.array(expected, dtype=float)
    np.testing.assert_allclose(slopes, expected, rtol=1e-8, atol=1e-8 * np.abs(expected).max())
    by_S = np.empty_like(F)
    for i, j in np.ndindex(F.shape):
        step = np.zeros(F.shape, dtype=np.longdouble)
        step[i, j] += h / 2
        step[j, i] += h / 2
        by_S[i, j] = (value(at, m, S + step) - value(at, m, S - step)) / (2 * h)
    np.testing.assert_allclose(F, by_S, rtol=1e-8, atol=1e-8 * np.abs(by_S).max())


# --- what cannot be computed ---


def assert_failed(value, gradient):
    assert value == -np.inf
    np.testing.assert_array_equal(gradient, 0.0)


@pytest.mark.parametrize("priors", [(), ("flat", "normal", "free")], ids=str)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e200, 1e308])
@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_a_lambda_beyond_numbers_is_minus_infinity_with_a_gradient_of_zeros(priors, bad, place):
    spec = model(2, priors)
    lam = np.array([1.0, 0.0, 0.5, 1.0])
    lam[place] = bad
    assert_failed(*kernel(spec, lam, 0.2, integration(spec).fit))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, -800.0])
def test_so_is_a_sigma_or_a_mean_beyond_numbers(bad):
    spec = model(2, ("flat", "normal", "free"))
    fit = integration(spec).fit
    assert_failed(*kernel(spec, np.eye(2), bad, fit))
    if bad != -800.0:
        assert_failed(*kernel(spec, np.eye(2), 0.2, np.where(np.arange(3) == 1, bad, fit)))


def test_so_are_coefficients_of_which_neither_rows_nor_prior_say_anything():
    spec = model(2, ("flat", "flat"))
    products, m = spec.marginal.products, integration(spec).fit
    H, T = products.H.copy(), products.T.copy()
    H[:, :2], T[:2], T[:, :2] = 0.0, 0.0, 0.0
    assert_failed(*kernel(spec, np.eye(2), 0.2, m, blocks=(products.G, H, T)))
    # A prior that is proper is enough.
    Q, loc, _, constants = integration(spec).gaussian
    proper = (Q, loc, np.eye(2), constants)
    value, gradient = kernel(spec, np.eye(2), 0.2, m, blocks=(products.G, H, T), gaussian=proper)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


@given(
    exponents=st.lists(st.integers(-320, 308), min_size=4, max_size=4),
    signs=st.lists(st.sampled_from([-1, 1]), min_size=4, max_size=4),
    log_sigma=st.sampled_from([-700.0, -300.0, -100.0, 0.0, 100.0, 300.0, 700.0]),
)
def test_a_finite_value_has_a_finite_gradient_however_large_or_small(exponents, signs, log_sigma):
    spec = model(2, ("flat", "normal", "free"))
    lam = np.array(signs) * 10.0 ** np.array(exponents, dtype=float)
    value, gradient = kernel(spec, lam, log_sigma, integration(spec).fit)
    assert np.isfinite(gradient).all()
    if not np.isfinite(value):
        assert_failed(value, gradient)


# --- scratch ---


def test_nothing_is_left_in_the_scratch_array_and_it_is_as_long_as_it_says():
    spec = model(3, ("flat", "normal", "free"))
    size, m = one_factor_work(3, 4, 2), integration(spec).fit
    work = np.full(size + 64, 5.0)
    first = kernel(spec, np.eye(3), 0.2, m, work=work[:size])
    kernel(spec, -3 * np.eye(3)[::-1], 1.0, m, work=work[:size])
    again = kernel(spec, np.eye(3), 0.2, m, work=work[:size])
    assert again[0] == first[0]
    np.testing.assert_array_equal(again[1], first[1])
    np.testing.assert_array_equal(work[size:], 5.0)
