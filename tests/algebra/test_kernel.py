import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlm_models.algebra.kernel import LANES, derivative, level_pass

SHAPES = [
    # q, k, J: fewer levels than lanes, one more than a block of lanes, two blocks and a rest.
    (1, 1, 1),
    (1, 2, LANES - 1),
    (2, 3, LANES + 1),
    (2, 6, 2 * LANES + 5),
    (3, 4, LANES),
    (4, 5, LANES + 13),
]


def made_up(seed, *, q, k, J, rows=(1, 5)):
    """z (n, q), W (n, k) and level (n,) with every level present, some of them with one row."""
    rng = np.random.default_rng(seed)
    level = np.repeat(np.arange(J), rng.integers(rows[0], rows[1] + 1, J))
    rng.shuffle(level)
    n = len(level)
    z = np.column_stack([np.ones(n), rng.normal(size=(n, q - 1))])
    return z, level, rng.normal(size=(n, k))


def blocks(z, level, W):
    J = level.max() + 1
    rows = [level == j for j in range(J)]
    G = np.stack([z[here].T @ z[here] for here in rows], axis=-1)
    H = np.stack([z[here].T @ W[here] for here in rows], axis=-1)
    return G, H, W.T @ W


def wide(z, level):
    """Z (n, J q), the effects of a level side by side."""
    J, q = level.max() + 1, z.shape[1]
    Z = np.zeros((len(z), J, q))
    Z[np.arange(len(z)), level] = z
    return Z.reshape(len(z), J * q)


def dense(Lambda, z, level, W):
    """log|V|, W'V^-1 W, and by level Z'V^-1 Z (J, q, q) and Z'V^-1 W (J, q, k), V = I + Z P Z'."""
    Z, q, k = wide(z, level), z.shape[1], W.shape[1]
    J = level.max() + 1
    V = np.eye(len(z)) + Z @ np.kron(np.eye(J), Lambda @ Lambda.T) @ Z.T
    sign, logdet = np.linalg.slogdet(V)
    assert sign > 0
    solved = np.linalg.solve(V, np.hstack([Z, W]))
    N = np.stack(
        [(Z.T @ solved[:, : J * q])[j * q : j * q + q, j * q : j * q + q] for j in range(J)]
    )
    R = (Z.T @ solved[:, J * q :]).reshape(J, q, k)
    return logdet, W.T @ solved[:, J * q :], N, R


def factors(q, seed):
    """Relative factors of every sort: triangular, square, of rank one, with a zero column, zero."""
    rng = np.random.default_rng(seed)
    square = rng.normal(size=(q, q))
    dropped = np.tril(rng.normal(size=(q, q)))
    dropped[:, -1] = 0.0
    return {
        "triangular": np.tril(square),
        "square": square,
        "rank one": np.outer(rng.normal(size=q), rng.normal(size=q)),
        "zero column": dropped,
        "zero": np.zeros((q, q)),
    }


# Condition numbers of V here are below 1e3, so both routes keep 13 digits of quantities of the
# order of T (which is up to a thousand).
CLOSE = {"rtol": 1e-11, "atol": 1e-11}


@pytest.mark.parametrize("sort", ["triangular", "square", "rank one", "zero column", "zero"])
@pytest.mark.parametrize(("q", "k", "J"), SHAPES)
def test_the_pass_equals_the_dense_normal(q, k, J, sort):
    z, level, W = made_up(q * 100 + J, q=q, k=k, J=J)
    Lambda = factors(q, seed=J)[sort]
    found = level_pass(Lambda, *blocks(z, level, W), derivatives=True)
    logdet, S, N, R = dense(Lambda, z, level, W)
    assert found.logdet == pytest.approx(logdet, rel=1e-12, abs=1e-12)
    np.testing.assert_allclose(found.S, S, **CLOSE)
    np.testing.assert_allclose(found.N, N.sum(axis=0), **CLOSE)
    outer = np.einsum("jac,jbd->acbd", R, R).reshape(q * k, q * k)
    np.testing.assert_allclose(found.D, outer, **CLOSE)


@pytest.mark.parametrize(("q", "k", "J"), SHAPES)
def test_levels_with_one_row_each_equal_the_dense_normal(q, k, J):
    # Fewer rows than effects: every G_j has rank one.
    z, level, W = made_up(J, q=q, k=k, J=J, rows=(1, 1))
    Lambda = np.tril(np.random.default_rng(q).normal(size=(q, q)))
    found = level_pass(Lambda, *blocks(z, level, W), derivatives=True)
    logdet, S, N, _ = dense(Lambda, z, level, W)
    assert found.logdet == pytest.approx(logdet, rel=1e-12)
    np.testing.assert_allclose(found.S, S, **CLOSE)
    np.testing.assert_allclose(found.N, N.sum(axis=0), **CLOSE)


def test_without_derivatives_value_and_S_are_the_same_bits():
    z, level, W = made_up(1, q=3, k=4, J=70)
    Lambda = np.tril(np.random.default_rng(2).normal(size=(3, 3)))
    with_, without = (
        level_pass(Lambda, *blocks(z, level, W), derivatives=wanted) for wanted in (True, False)
    )
    assert with_.logdet == without.logdet
    np.testing.assert_array_equal(with_.S, without.S)
    assert not without.N.any()
    assert without.D.size == 0


def test_zero_Lambda_leaves_least_squares():
    z, level, W = made_up(3, q=2, k=3, J=11)
    G, H, T = blocks(z, level, W)
    found = level_pass(np.zeros((2, 2)), G, H, T, derivatives=True)
    assert found.logdet == 0.0
    np.testing.assert_array_equal(found.S, T)
    np.testing.assert_allclose(found.N, G.sum(axis=-1), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize(("q", "k", "J"), SHAPES)
def test_derivative_equals_the_dense_formula(q, k, J):
    z, level, W = made_up(J + 1, q=q, k=k, J=J)
    rng = np.random.default_rng(J)
    Lambda, F = rng.normal(size=(q, q)), rng.normal(size=(k, k))
    F = F + F.T
    found = level_pass(Lambda, *blocks(z, level, W), derivatives=True)
    _, _, N, R = dense(Lambda, z, level, W)
    M = -1.7 * N.sum(axis=0) - np.einsum("jac,cd,jbd->ab", R, F, R)
    np.testing.assert_allclose(derivative(found, -1.7, F), M, **CLOSE)


@pytest.mark.parametrize(("q", "k", "J"), SHAPES)
def test_derivative_equals_differences(q, k, J):
    z, level, W = made_up(J + 2, q=q, k=k, J=J)
    G, H, T = blocks(z, level, W)
    rng = np.random.default_rng(J + 2)
    Lambda, F, direction = rng.normal(size=(q, q)), rng.normal(size=(k, k)), rng.normal(size=(q, q))
    F = F + F.T

    def value(Lambda):
        found = level_pass(Lambda, G, H, T, derivatives=False)
        return 0.7 * found.logdet + float(np.trace(F @ found.S))

    h = 1e-5
    numeric = (value(Lambda + h * direction) - value(Lambda - h * direction)) / (2 * h)
    M = derivative(level_pass(Lambda, G, H, T, derivatives=True), 0.7, F)
    # Central differences: h^2 of truncation and eps / h of rounding, on values of order |F| |T|.
    scale = np.abs(F).sum() * np.abs(T).max()
    assert np.sum(2 * M @ Lambda * direction) == pytest.approx(numeric, rel=1e-7, abs=1e-9 * scale)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e200])
@pytest.mark.parametrize("derivatives", [True, False])
def test_a_Lambda_that_is_not_finite_gives_a_value_that_is_not_finite(bad, derivatives):
    z, level, W = made_up(5, q=2, k=3, J=9)
    Lambda = np.array([[1.0, 0.0], [0.5, bad]])
    found = level_pass(Lambda, *blocks(z, level, W), derivatives=derivatives)
    assert not np.isfinite(found.logdet)


@given(st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_order_of_the_levels_does_not_matter(seed, q):
    z, level, W = made_up(seed, q=q, k=3, J=70)
    G, H, T = blocks(z, level, W)
    rng = np.random.default_rng(seed)
    Lambda, order = rng.normal(size=(q, q)), rng.permutation(70)
    one = level_pass(Lambda, G, H, T, derivatives=True)
    other = level_pass(Lambda, G[..., order].copy(), H[..., order].copy(), T, derivatives=True)
    assert other.logdet == pytest.approx(one.logdet, rel=1e-12)
    for name in ("S", "N", "D"):
        np.testing.assert_allclose(getattr(other, name), getattr(one, name), **CLOSE)


@given(st.integers(0, 2**32 - 1), st.integers(1, 69))
def test_two_sets_of_levels_add_up(seed, cut):
    z, level, W = made_up(seed, q=2, k=3, J=70)
    G, H, T = blocks(z, level, W)
    Lambda = np.random.default_rng(seed).normal(size=(2, 2))
    whole = level_pass(Lambda, G, H, T, derivatives=True)
    parts = [
        level_pass(Lambda, G[..., here].copy(), H[..., here].copy(), T / 2, derivatives=True)
        for here in (slice(cut), slice(cut, None))
    ]
    assert sum(part.logdet for part in parts) == pytest.approx(whole.logdet, rel=1e-12)
    for name in ("S", "N", "D"):
        total = sum(getattr(part, name) for part in parts)
        np.testing.assert_allclose(total, getattr(whole, name), **CLOSE)


@given(st.integers(0, 2**32 - 1))
def test_only_Lambda_Lambda_transposed_matters(seed):
    z, level, W = made_up(seed, q=3, k=2, J=9)
    rng = np.random.default_rng(seed)
    Lambda = rng.normal(size=(3, 3))
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    one, other = (
        level_pass(factor, *blocks(z, level, W), derivatives=True)
        for factor in (Lambda, Lambda @ turn)
    )
    assert other.logdet == pytest.approx(one.logdet, rel=1e-11)
    for name in ("S", "N", "D"):
        np.testing.assert_allclose(getattr(other, name), getattr(one, name), **CLOSE)


@given(st.integers(0, 2**32 - 1))
def test_the_same_effects_in_other_columns_give_the_same_likelihood(seed):
    # z R^-1 with R Lambda, as the centring of z has it.
    z, level, W = made_up(seed, q=2, k=2, J=9)
    rng = np.random.default_rng(seed)
    Lambda, R = np.tril(rng.normal(size=(2, 2))), np.array([[1.0, 0.7], [0.0, 2.5]])
    one = level_pass(Lambda, *blocks(z, level, W), derivatives=False)
    other = level_pass(
        R @ Lambda, *blocks(np.linalg.solve(R.T, z.T).T, level, W), derivatives=False
    )
    assert other.logdet == pytest.approx(one.logdet, rel=1e-11)
    np.testing.assert_allclose(other.S, one.S, **CLOSE)


def test_many_large_pivots_do_not_overflow():
    q, J = 40, 3
    G = np.repeat((4000.0 * np.eye(q))[:, :, None], J, axis=2)
    found = level_pass(1e3 * np.eye(q), G, np.zeros((q, 1, J)), np.eye(1), derivatives=True)
    assert found.logdet == pytest.approx(J * q * math.log(1 + 4e9), rel=1e-12)
