"""The kernel of several factors: against one n x n covariance, the pass in Python, one factor."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import typeof

import hlm_models as hlm
from hlm_models.algebra import schur
from hlm_models.algebra.coupling import coupled
from hlm_models.algebra.crossed import sweep
from hlm_models.algebra.crossed_pass import (
    several_blocks,
    several_factors_density,
    several_work,
)
from hlm_models.algebra.gram import scaling
from hlm_models.algebra.integrated import (
    coefficients_work,
    integrate,
    one_factor_density,
    one_factor_work,
)
from hlm_models.spec.integration import integration

N, P = 150, 3

SHAPES = {
    "two intercepts": ((9, 4), (1, 1)),
    "slopes in the first": ((12, 5), (2, 1)),
    "slopes in the second": ((12, 5), (1, 3)),
    "three factors": ((12, 7, 5), (2, 1, 2)),
    "nested": ((20, 5), (1, 2)),
    "one column but one": ((30, 1), (2, 1)),
}

PRIORS = ("proper", "flat", "mixed", "none")


@pytest.fixture(params=["dense", "sparse"])
def storage(request, monkeypatch):
    """Every claim holds whichever way the Schur complement is stored."""
    if request.param == "sparse":
        monkeypatch.setattr(schur, "SMALL", 0)
        monkeypatch.setattr(schur, "_mostly_full", lambda *_: False)
        monkeypatch.setattr(schur, "DENSE", 0)
    return request.param


class Model:
    """Data with their cross-products, and the same with everything n x n formed."""

    def __init__(self, shape, prior="proper"):
        J, q = SHAPES[shape]
        rng = np.random.default_rng(len(shape))
        self.J, self.q = J, q
        level = [np.concatenate([np.arange(j), rng.integers(0, j, N - j)]) for j in J]
        if shape == "nested":
            level[1] = level[0] % J[1]
        z = tuple(np.column_stack([np.ones(N), rng.normal(3, 2, (N, k - 1))]) for k in q)
        X = np.column_stack([np.ones(N), rng.normal(size=(N, P - 1))])
        y = rng.normal(50, 3, N)
        z_scaling = tuple(scaling(one, constant=0) for one in z)
        x_scaling = scaling(X, constant=0)
        y_fit = np.array([50.0, 0.3, -0.2])
        self.coupled = coupled(
            z, tuple(level), J, X, y, z_scaling=z_scaling, x_scaling=x_scaling, y_fit=y_fit
        )
        self.blocks = several_blocks(self.coupled)
        self.X = x_scaling.apply(X)
        self.y = y - self.X @ y_fit
        self.wide = []
        for one, s, codes, j, k in zip(z, z_scaling, level, J, q, strict=True):
            Z = np.zeros((N, j, k))
            Z[np.arange(N), codes] = s.apply(one)
            self.wide.append(Z)
        # Two coefficients are integrated unless there is none to be.
        d = 0 if prior == "none" else 2
        Q = np.linalg.qr(rng.normal(size=(P, P)))[0][:, :d]
        V = rng.normal(size=(d, d))
        precision = {
            "proper": np.eye(d) + V @ V.T,
            "flat": np.zeros((d, d)),
            "mixed": np.diag([0.4, 0.0][:d]),
            "none": np.zeros((0, 0)),
        }[prior]
        self.prior = prior
        self.gaussian = (
            np.ascontiguousarray(Q),
            rng.normal(size=d),
            precision,
            np.array([-7.0, float(N)]),
        )
        self.m = 0.3 * rng.normal(size=P)
        self.lam = self.flat([np.tril(rng.normal(size=(k, k))) for k in q])

    @staticmethod
    def flat(Lambda):
        return np.concatenate([np.ravel(one) for one in Lambda])

    def factors(self, lam):
        ends = np.cumsum(np.square(self.q))
        return [one.reshape(k, k) for one, k in zip(np.split(lam, ends[:-1]), self.q, strict=True)]

    def kernel(self, lam, log_sigma=0.2, work=None):
        gradient = np.full(len(lam) + 1 + P, np.nan)
        size = several_work(self.blocks, len(self.gaussian[1]))
        work = np.full(size, np.nan) if work is None else work
        value = several_factors_density(
            lam, log_sigma, self.m, self.blocks, self.gaussian, gradient, work
        )
        return value, gradient

    def dense(self, lam, log_sigma=0.2):
        """The integral over coefficients t of N(y_s + X_s m; X_s Q t, sigma^2 V) N(t; loc, ..)."""
        Q, loc, precision, constants = self.gaussian
        sigma2, d = np.exp(2 * log_sigma), len(loc)
        Lambda = self.factors(lam)
        V = np.eye(N)
        for Z, one in zip(self.wide, Lambda, strict=True):
            half = Z @ one
            V += np.einsum("njq,mjq->nm", half, half)
        inverse = np.linalg.inv(sigma2 * V)
        XQ = self.X @ Q
        r = self.y + self.X @ self.m - XQ @ loc
        information = XQ.T @ inverse @ XQ + precision
        weighted = inverse @ XQ
        M = inverse - weighted @ np.linalg.solve(information, weighted.T) if d else inverse
        value = constants[0] - np.linalg.slogdet(sigma2 * V)[1] / 2 - r @ M @ r / 2
        value -= np.linalg.slogdet(information)[1] / 2 if d else 0.0
        slope = (np.outer(M @ r, M @ r) - M) / 2
        gradient = []
        for Z, one in zip(self.wide, Lambda, strict=True):
            inner = np.einsum("njq,njr->qr", Z, np.einsum("nm,mjr->njr", slope, Z))
            gradient.append((2 * sigma2 * inner @ one).ravel())
        gradient.append([2 * sigma2 * np.sum(slope * V)])
        gradient.append(-self.X.T @ M @ r)
        return value, np.concatenate(gradient)


def close(found, expected, rel=1e-9):
    assert found[0] == pytest.approx(expected[0], rel=rel)
    np.testing.assert_allclose(
        found[1], expected[1], rtol=rel, atol=rel * np.abs(expected[1]).max()
    )


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("shape", SHAPES)
def test_value_and_gradient_are_those_of_one_dense_normal(shape, prior, storage):
    model = Model(shape, prior)
    close(model.kernel(model.lam), model.dense(model.lam))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_lambda_need_not_be_triangular(shape, storage):
    model = Model(shape)
    lam = np.random.default_rng(1).normal(size=len(model.lam))
    close(model.kernel(lam), model.dense(lam))


@pytest.mark.parametrize("zero", ["every", "first", "last", "a column"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_singular_lambda_has_finite_numbers(shape, zero, storage):
    model = Model(shape)
    Lambda = [one.copy() for one in model.factors(model.lam)]
    for one in {"first": Lambda[:1], "last": Lambda[-1:]}.get(zero, Lambda):
        one[:, -1 if zero == "a column" else slice(None)] = 0.0
    lam = model.flat(Lambda)
    close(model.kernel(lam), model.dense(lam))


@given(
    shape=st.sampled_from(list(SHAPES)),
    scales=st.lists(st.sampled_from([-8, -6, -4, -2, 0, 1]), min_size=6, max_size=6),
    seed=st.integers(0, 1000),
)
def test_derivatives_by_log_sds_are_exact_at_any_scale(shape, scales, seed):
    # sd_i scales row i of a factor: its derivative by log sd_i is row i of gradient * Lambda.
    model = Model(shape)
    rows = 10.0 ** np.array(scales[: sum(model.q)])
    turned = np.split(rows, np.cumsum(model.q)[:-1])
    lower = np.random.default_rng(seed).normal(size=len(model.lam))
    lam = model.flat(
        [s[:, None] * np.tril(one) for s, one in zip(turned, model.factors(lower), strict=True)]
    )
    found, expected = model.kernel(lam), model.dense(lam)
    assert found[0] == pytest.approx(expected[0], rel=1e-10)
    by_log = [
        np.concatenate([np.sum(a * b, axis=1) for a, b in zip(*sides, strict=True)])
        for sides in (
            (model.factors(found[1][: len(lam)]), model.factors(lam)),
            (model.factors(expected[1][: len(lam)]), model.factors(lam)),
        )
    ]
    np.testing.assert_allclose(by_log[0], by_log[1], rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_gradient_is_that_of_the_value(shape, storage):
    model = Model(shape, "mixed")
    x = np.concatenate([model.lam, [0.2], model.m])

    def value(x):
        model.m = x[-P:]
        return model.kernel(x[: -P - 1], x[-P - 1])

    slopes = value(x)[1]
    for i in range(len(x)):
        h = np.zeros(len(x))
        h[i] = 1e-5
        assert slopes[i] == pytest.approx(
            (value(x + h)[0] - value(x - h)[0]) / 2e-5, rel=1e-5, abs=1e-5
        )


def in_python(blocks, Lambda, m, gaussian):
    found = sweep(Lambda, blocks)
    k, d = len(found.S), len(gaussian[1])
    F, slopes = np.empty((k, k)), np.empty(k)
    value = integrate(
        found.logdet, found.S, 0.2, m, gaussian, F, slopes, np.empty(coefficients_work(k - 1, d))
    )
    M = found.derivative(-0.5, F)
    parts = [(2 * a @ b).ravel() for a, b in zip(M, Lambda, strict=True)]
    return value, np.concatenate([*parts, slopes])


@pytest.mark.parametrize("shape", SHAPES)
def test_value_and_gradient_are_those_of_the_pass_in_python(shape, storage):
    model = Model(shape)
    Lambda = tuple(model.factors(model.lam))
    expected = in_python(model.coupled, Lambda, model.m, model.gaussian)
    close(model.kernel(model.lam), expected)


@pytest.mark.parametrize(
    "name", ["penicillin", "pastes", pytest.param("insteval-dept", marks=pytest.mark.slow)]
)
def test_value_and_gradient_of_real_data_are_those_of_the_pass_in_python(name):
    spec = hlm.build(name)
    blocks, split = spec.marginal.products, integration(spec)
    Lambda = tuple(np.eye(q) * scale for q, scale in zip(blocks.q, (0.7, 0.2), strict=True))
    lam, m = np.concatenate([one.ravel() for one in Lambda]), split.m(np.zeros(len(split.free)))
    arrays = several_blocks(blocks)
    gradient = np.empty(len(lam) + 1 + len(m))
    work = np.empty(several_work(arrays, len(split.loc)))
    with schur.one_thread():
        value = several_factors_density(lam, 0.2, m, arrays, split.gaussian, gradient, work)
        close((value, gradient), in_python(blocks, Lambda, m, split.gaussian))


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("shape", SHAPES)
def test_factors_without_variance_leave_the_kernel_of_one(shape, prior, storage):
    model = Model(shape, prior)
    q1, products = model.q[0], model.coupled
    lam = model.lam.copy()
    lam[q1 * q1 :] = 0.0
    gradient = np.empty(q1 * q1 + 1 + P)
    work = np.empty(one_factor_work(q1, P + 1, len(model.gaussian[1])))
    value = one_factor_density(
        lam[: q1 * q1], 0.2, model.m, (products.G, products.H, products.T), model.gaussian,
        gradient, work,
    )  # fmt: skip
    found = model.kernel(lam)
    others = np.arange(q1 * q1, len(lam))
    np.testing.assert_allclose(found[1][others], 0.0, atol=1e-12)
    close((found[0], np.delete(found[1], others)), (value, gradient), rel=1e-10)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e200])
@pytest.mark.parametrize("place", [0, -1])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_failure_is_minus_infinity_with_a_gradient_of_zeros(shape, place, bad, storage):
    model = Model(shape)
    lam = model.lam.copy()
    lam[place] = bad
    value, gradient = model.kernel(lam)
    assert value == -np.inf
    np.testing.assert_array_equal(gradient, 0.0)


def test_a_sigma_that_is_no_number_fails_too(storage):
    model = Model("three factors")
    value, gradient = model.kernel(model.lam, np.nan)
    assert value == -np.inf
    np.testing.assert_array_equal(gradient, 0.0)


@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_is_left_in_the_scratch_array(shape, storage):
    model = Model(shape)
    work = np.full(several_work(model.blocks, 2), 3.0)
    first = model.kernel(model.lam)
    model.kernel(-2 * model.lam, 1.0, work)
    again = model.kernel(model.lam, work=work)
    assert again[0] == first[0]
    np.testing.assert_array_equal(again[1], first[1])


@pytest.mark.parametrize("shape", SHAPES)
def test_the_scratch_array_is_as_long_as_it_says(shape, storage):
    model = Model(shape)
    size = several_work(model.blocks, 2)
    work = np.full(size + 64, 5.0)
    model.kernel(model.lam, work=work[:size])
    np.testing.assert_array_equal(work[size:], 5.0)


def test_blocks_are_of_one_type_for_all_models(monkeypatch):
    dense = Model("two intercepts").blocks
    monkeypatch.setattr(schur, "SMALL", 0)
    monkeypatch.setattr(schur, "_mostly_full", lambda *_: False)
    monkeypatch.setattr(schur, "DENSE", 0)
    sparse = Model("three factors").blocks
    assert typeof(dense) == typeof(sparse)
    assert all(array.flags.c_contiguous and array.itemsize == 8 for array in (*dense, *sparse))
