import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlm_models.algebra.gram import CHUNK, cross_products, scaling

EXACT = {"rtol": 1e-12, "atol": 1e-12}
# Sums of up to a few hundred products of numbers of order one, taken in another order.


def made_up(seed, *, n, q=2, p=3, J=7):
    rng = np.random.default_rng(seed)
    z = np.column_stack([np.ones(n), rng.normal(size=(n, q - 1))])
    X = np.column_stack([np.ones(n), rng.normal(2.0, 3.0, size=(n, p - 1))])
    return z, rng.integers(0, J, n), J, X, rng.normal(size=n)


def identity(k):
    return scaling(np.ones((1, k)), constant=None)


def plain(z, level, J, X, y):
    """Gram blocks of the columns as they are."""
    return cross_products(
        z,
        level,
        J,
        X,
        y,
        z_scaling=identity(z.shape[1]),
        x_scaling=identity(X.shape[1]),
        y_fit=np.zeros(X.shape[1]),
    )


def dense(z, level, J, X, y):
    """G, H and T by boolean masks and matrix products, level last."""
    W = np.column_stack([X, y])
    rows = [level == j for j in range(J)]
    G = np.stack([z[here].T @ z[here] for here in rows], axis=-1)
    H = np.stack([z[here].T @ W[here] for here in rows], axis=-1)
    return G, H, W.T @ W


@pytest.mark.parametrize("q", [1, 2, 4])
@pytest.mark.parametrize("p", [0, 1, 3])
def test_blocks_are_dense_products_by_level(q, p):
    z, level, J, X, y = made_up(q + 10 * p, n=60, q=q, p=max(p, 1))
    X = X[:, :p]
    gram = plain(z, level, J, X, y)
    G, H, T = dense(z, level, J, X, y)
    np.testing.assert_allclose(gram.G, G, **EXACT)
    np.testing.assert_allclose(gram.H, H, **EXACT)
    np.testing.assert_allclose(gram.T, T, **EXACT)
    assert gram.n == 60
    assert (gram.G.shape, gram.H.shape, gram.T.shape) == ((q, q, J), (q, p + 1, J), (p + 1, p + 1))


def test_a_level_without_rows_has_zero_blocks():
    z, level, J, X, y = made_up(3, n=40)
    gram = plain(z, np.where(level == 2, 0, level), J, X, y)
    assert not gram.G[..., 2].any()
    assert not gram.H[..., 2].any()


def test_rows_beyond_one_chunk_are_all_counted():
    # Whole numbers, so that every sum is exact and the comparison is too.
    n, J = CHUNK + 17, 5
    rng = np.random.default_rng(4)
    z = np.column_stack([np.ones(n), rng.integers(-3, 4, n)]).astype(float)
    X = rng.integers(-2, 3, (n, 2)).astype(float)
    y = rng.integers(-5, 6, n).astype(float)
    level = rng.integers(0, J, n)
    gram = plain(z, level, J, X, y)
    G, H, T = dense(z, level, J, X, y)
    np.testing.assert_array_equal(gram.G, G)
    np.testing.assert_array_equal(gram.H, H)
    np.testing.assert_array_equal(gram.T, T)


def test_blocks_are_read_only_and_symmetric():
    gram = plain(*made_up(5, n=50, q=3))
    assert not any(array.flags.writeable for array in (gram.G, gram.H, gram.T))
    np.testing.assert_array_equal(gram.G, np.swapaxes(gram.G, 0, 1))


@pytest.mark.parametrize("constant", [None, 0])
def test_scaled_columns_times_R_are_the_raw_columns(constant):
    rng = np.random.default_rng(6)
    raw = np.column_stack([np.ones(30), rng.normal(1e4, 2.0, 30), rng.normal(0.0, 1e-3, 30)])
    found = scaling(raw, constant=constant)
    # 1e4 of mean on 2 of spread: 4 digits of 16 go in the centring.
    np.testing.assert_allclose(found.apply(raw) @ found.R, raw, rtol=1e-11)
    assert np.array_equal(found.R, np.triu(found.R))
    assert (np.diag(found.R) > 0).all()


def test_scaled_columns_are_centred_with_unit_spread_where_there_is_a_constant():
    rng = np.random.default_rng(7)
    raw = np.column_stack([np.ones(40), rng.normal(5.0, 3.0, 40)])
    scaled = scaling(raw, constant=0).apply(raw)
    np.testing.assert_array_equal(scaled[:, 0], 1.0)
    np.testing.assert_allclose(scaled[:, 1].mean(), 0.0, atol=1e-14)
    np.testing.assert_allclose((scaled[:, 1] ** 2).mean(), 1.0, rtol=1e-14)


def test_nothing_is_shifted_without_a_constant():
    raw = np.random.default_rng(8).normal(5.0, 3.0, (40, 2))
    found = scaling(raw, constant=None)
    np.testing.assert_array_equal(found.shift, 0.0)
    np.testing.assert_allclose((found.apply(raw) ** 2).mean(axis=0), 1.0, rtol=1e-14)
    np.testing.assert_array_equal(found.R, np.diag(np.diag(found.R)))


@pytest.mark.parametrize("value", [1e9 + 0.1, 0.1, -7.3, 0.0])
def test_a_constant_column_becomes_zeros_and_keeps_a_unit_of_one(value):
    raw = np.column_stack([np.ones(23), np.full(23, value)])
    found = scaling(raw, constant=0)
    assert found.unit[1] == 1.0
    np.testing.assert_allclose(found.apply(raw)[:, 1], 0.0, atol=1e-15 * max(abs(value), 1) * 23)


def test_blocks_in_scaled_coordinates_are_those_of_scaled_columns():
    z, level, J, X, y = made_up(9, n=60)
    z_scaling, x_scaling = scaling(z, constant=0), scaling(X, constant=0)
    y_fit = np.linspace(-0.4, 0.7, X.shape[1])
    gram = cross_products(z, level, J, X, y, z_scaling=z_scaling, x_scaling=x_scaling, y_fit=y_fit)
    fixed = x_scaling.apply(X)
    G, H, T = dense(z_scaling.apply(z), level, J, fixed, y - fixed @ y_fit)
    np.testing.assert_allclose(gram.G, G, **EXACT)
    np.testing.assert_allclose(gram.H, H, **EXACT)
    np.testing.assert_allclose(gram.T, T, **EXACT)


@given(st.integers(0, 2**32 - 1))
def test_row_order_does_not_matter(seed):
    z, level, J, X, y = made_up(seed, n=30)
    order = np.random.default_rng(seed).permutation(30)
    one = plain(z, level, J, X, y)
    other = plain(z[order], level[order], J, X[order], y[order])
    np.testing.assert_allclose(other.G, one.G, **EXACT)
    np.testing.assert_allclose(other.H, one.H, rtol=1e-12, atol=1e-11)
    np.testing.assert_allclose(other.T, one.T, rtol=1e-12, atol=1e-10)


@given(st.integers(0, 2**32 - 1), st.permutations(range(7)))
def test_relabelled_levels_move_their_blocks_unchanged(seed, renamed):
    z, level, J, X, y = made_up(seed, n=30)
    new = np.array(renamed)
    one, other = plain(z, level, J, X, y), plain(z, new[level], J, X, y)
    np.testing.assert_array_equal(other.G[..., new], one.G)
    np.testing.assert_array_equal(other.H[..., new], one.H)


@given(st.integers(0, 2**32 - 1), st.integers(1, 29))
def test_blocks_of_two_halves_add_up(seed, cut):
    z, level, J, X, y = made_up(seed, n=30)
    whole = plain(z, level, J, X, y)
    parts = [
        plain(z[rows], level[rows], J, X[rows], y[rows]) for rows in (slice(cut), slice(cut, None))
    ]
    for name in ("G", "H", "T"):
        total = sum(getattr(part, name) for part in parts)
        np.testing.assert_allclose(total, getattr(whole, name), rtol=1e-12, atol=1e-10)
    assert sum(part.n for part in parts) == whole.n
