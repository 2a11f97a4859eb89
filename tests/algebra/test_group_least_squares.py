import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlm_models.algebra.group_least_squares import group_least_squares, group_means


def made_up(seed, *, k=3, J=6, rows=(1, 9)):
    rng = np.random.default_rng(seed)
    level = np.repeat(np.arange(J), rng.integers(rows[0], rows[1] + 1, J))
    rng.shuffle(level)
    n = len(level)
    X = np.column_stack([np.ones(n), 50 + rng.normal(size=(n, k - 1))])
    return X, rng.normal(size=n), level


@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 8))
def test_every_group_gets_its_own_least_squares(seed, k, J):
    X, y, level = made_up(seed, k=k, J=J, rows=(k + 1, k + 6))
    found = group_least_squares(X, y, level, J)
    assert found.estimable.all()
    for j in range(J):
        here = level == j
        beta, rss, rank, _ = np.linalg.lstsq(X[here], y[here])
        inverse = np.linalg.inv(X[here].T @ X[here])
        # Groups with k + 1 rows can be close to rank-deficient.
        lost = 1e-12 * np.linalg.cond(X[here]) ** 2
        assert np.allclose(found.estimate[j], beta, rtol=lost, atol=lost)
        assert np.allclose(found.factor[j] @ found.factor[j].T, inverse, rtol=lost, atol=lost)
        assert found.rss[j] == pytest.approx(float(rss[0]), rel=1e-9, abs=1e-12)
        assert found.rank[j] == rank


@given(st.integers(0, 10_000))
def test_fitted_values_do_not_mind_columns_that_say_nothing_new(seed):
    X, y, level = made_up(seed, k=2, rows=(1, 5))
    twice = np.column_stack([X[:, :1], 3 * X[:, :1], X[:, 1:], X[:, 1:] - 7])
    one, other = group_least_squares(X, y, level, 6), group_least_squares(twice, y, level, 6)
    assert not other.estimable[:, [1, 3]].any()
    assert np.array_equal(one.rank, other.rank)
    assert np.allclose(one.rss, other.rss, atol=1e-10)
    assert np.array_equal(one.estimate, other.estimate[:, [0, 2]], equal_nan=True)
    assert np.array_equal(np.isnan(other.variance), ~other.estimable)
    assert not other.factor[:, [1, 3]].any()


def test_a_group_of_one_row_keeps_its_first_column_only():
    X = np.column_stack([np.ones(4), [1.0, 2.0, 4.0, 5.0]])
    found = group_least_squares(X, np.array([3.0, 1.0, 2.0, 4.0]), np.array([0, 1, 1, 1]), 3)
    assert found.estimate[0, 0] == 3.0
    assert np.isnan(found.estimate[0, 1])
    assert found.rank.tolist() == [1, 2, 0]
    assert np.isnan(found.estimate[2]).all()


def test_a_small_spread_around_a_large_value_keeps_its_digits():
    rng = np.random.default_rng(1)
    x = rng.normal(size=400)
    y = 2 + 3 * x + rng.normal(size=400)
    level = np.arange(400) % 2
    near, far = (
        group_least_squares(np.column_stack([np.ones(400), x + shift]), y, level, 2)
        for shift in (0.0, 1e5)
    )
    # x + 1e5 is rounded to 1e-11, which is all that is lost.
    assert np.allclose(near.estimate[:, 1], far.estimate[:, 1], rtol=1e-9)
    assert np.allclose(near.rss, far.rss, rtol=1e-9)


@given(st.integers(0, 10_000))
def test_rows_may_come_in_any_order(seed):
    X, y, level = made_up(seed)
    order = np.random.default_rng(seed).permutation(len(y))
    one = group_least_squares(X, y, level, 6)
    other = group_least_squares(X[order], y[order], level[order], 6)
    assert np.array_equal(one.estimable, other.estimable)
    assert np.allclose(one.rss, other.rss, atol=1e-9)


def test_group_means_are_weighted():
    X, y, level = made_up(4)
    weights = np.random.default_rng(4).uniform(0.5, 2, len(y))
    means, total = group_means(X, weights, level, 6)
    for j in range(6):
        here = level == j
        assert np.allclose(means[j], np.average(X[here], axis=0, weights=weights[here]))
        assert total[j] == pytest.approx(weights[here].sum())
