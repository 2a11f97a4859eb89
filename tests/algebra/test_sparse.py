"""The sparse factor, its solutions and its selected inverse against dense NumPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hlm_models.algebra.sparse import (
    analyse,
    factorise,
    logdet,
    lookup,
    selected_inverse,
    solve,
)


def nested(classes, schools):
    """Classes, then the schools they lie in."""
    return np.arange(classes), classes + np.arange(classes) % schools, classes + schools


def grid(side):
    at = np.arange(side * side).reshape(side, side)
    return (
        np.concatenate([at[1:].ravel(), at[:, 1:].ravel()]),
        np.concatenate([at[:-1].ravel(), at[:, :-1].ravel()]),
        side * side,
    )


def banded(size, width):
    rows, columns = np.tril_indices(size)
    near = rows - columns <= width
    return rows[near], columns[near], size


def arrow(blocks, width, border):
    """Dense diagonal blocks, and a dense border that comes first."""
    size = border + blocks * width
    rows, columns = np.tril_indices(size)
    owner = (np.arange(size) - border) // width
    near = (columns < border) | (owner[rows] == owner[columns])
    return rows[near], columns[near], size


def disconnected():
    """A chain, a clique and single rows, interleaved."""
    clique, chain = np.arange(1, 30, 3), np.arange(0, 30, 3)
    rows, columns = np.tril_indices(len(clique), -1)
    return (
        np.concatenate([clique[rows], chain[1:]]),
        np.concatenate([clique[columns], chain[:-1]]),
        30,
    )


NONE = np.array([], dtype=np.int64)

PATTERNS = {
    "1 x 1": (NONE, NONE, 1),
    "diagonal": (NONE, NONE, 7),
    "nested": nested(60, 7),
    "grid": grid(17),
    "banded": banded(60, 4),
    "tridiagonal": banded(40, 1),
    "arrow": arrow(6, 5, 3),
    "wide border": arrow(20, 2, 90),
    "disconnected": disconnected(),
    "dense in several panels": banded(200, 200),
}


class Case:
    """Random numbers on a pattern, the diagonal last, and the same matrix dense."""

    def __init__(self, rows, columns, size, seed=0):
        rng = np.random.default_rng(seed)
        off = rows != columns
        self.rows = np.concatenate([rows[off], np.arange(size)])
        self.columns = np.concatenate([columns[off], np.arange(size)])
        self.values = rng.normal(size=len(self.rows))
        self.size = size
        weight = np.zeros(size)
        for side in (self.rows, self.columns):
            np.add.at(weight, side[:-size], np.abs(self.values[:-size]))
        self.values[-size:] = weight + rng.uniform(0.5, 2, size)
        self.dense = np.zeros((size, size))
        np.add.at(self.dense, (self.rows, self.columns), self.values)
        np.add.at(self.dense, (self.columns[:-size], self.rows[:-size]), self.values[:-size])
        self.right = rng.normal(size=(size, 3))

    def analysed(self):
        return analyse(self.rows, self.columns, self.size)

    def check(self):
        pattern = self.analysed()
        L = factorise(pattern, self.values)
        inverse = np.linalg.inv(self.dense)
        np.testing.assert_allclose(
            logdet(pattern, L), np.linalg.slogdet(self.dense)[1], rtol=1e-12, atol=1e-12
        )
        np.testing.assert_allclose(solve(pattern, L, self.right), inverse @ self.right, atol=1e-10)
        Z = selected_inverse(pattern, L)
        i, j = np.indices(self.dense.shape).reshape(2, -1)
        at = lookup(pattern, i, j)
        assert np.all(at[self.dense[i, j] != 0] >= 0)
        kept = at >= 0
        np.testing.assert_allclose(Z[at[kept]], inverse[i[kept], j[kept]], rtol=0, atol=1e-10)
        np.testing.assert_array_equal(pattern.places, lookup(pattern, self.rows, self.columns))
        # L itself: its product on the lower triangle, in its own order.
        low = at[kept & (pattern.order[i] >= pattern.order[j])]
        full = np.zeros_like(self.dense)
        a, b = pattern.order[i[kept]], pattern.order[j[kept]]
        full[np.maximum(a, b), np.minimum(a, b)] = L[at[kept]]
        back = np.argsort(pattern.order)
        np.testing.assert_allclose(full @ full.T, self.dense[np.ix_(back, back)], atol=1e-10)
        assert len(np.unique(low)) == len(low) >= pattern.fill
        return pattern


@pytest.mark.parametrize("name", PATTERNS)
def test_every_pattern_agrees_with_the_dense_matrix(name):
    Case(*PATTERNS[name]).check()


@pytest.mark.parametrize("name", PATTERNS)
def test_shuffled_rows_give_the_same_answers(name):
    rows, columns, size = PATTERNS[name]
    shuffle = np.random.default_rng(3).permutation(size)
    plain = Case(rows, columns, size)
    moved = Case(rows, columns, size)
    moved.rows, moved.columns = shuffle[plain.rows], shuffle[plain.columns]
    moved.dense = np.empty_like(plain.dense)
    moved.dense[np.ix_(shuffle, shuffle)] = plain.dense
    moved.check()
    one, other = plain.analysed(), moved.analysed()
    L, M = factorise(one, plain.values), factorise(other, moved.values)
    np.testing.assert_allclose(logdet(one, L), logdet(other, M), rtol=1e-12)
    np.testing.assert_allclose(
        selected_inverse(one, L)[one.places],
        selected_inverse(other, M)[other.places],
        rtol=0,
        atol=1e-12,
    )


@settings(max_examples=60, deadline=None)
@given(data=st.data(), size=st.integers(1, 70), seed=st.integers(0, 2**32 - 1))
def test_random_patterns_agree_with_the_dense_matrix(data, size, seed):
    entries = data.draw(st.integers(0, 4 * size))
    rows, columns = np.random.default_rng(seed).integers(0, size, (2, entries))
    Case(rows, columns, size, seed).check()


def test_either_triangle_and_repeated_entries_make_one_matrix():
    case = Case(*grid(5))
    pattern = case.analysed()
    half = np.concatenate([case.values, case.values]) / 2
    doubled = analyse(
        np.concatenate([case.rows, case.columns]),
        np.concatenate([case.columns, case.rows]),
        case.size,
    )
    assert doubled.fill == pattern.fill
    np.testing.assert_allclose(
        factorise(doubled, half), factorise(pattern, case.values), rtol=1e-14
    )


def test_the_diagonal_belongs_to_the_pattern_unasked():
    pattern = analyse(np.array([1]), np.array([0]), 3)
    assert pattern.fill == 4
    np.testing.assert_array_equal(pattern.diagonal, lookup(pattern, np.arange(3), np.arange(3)))
    with pytest.raises(np.linalg.LinAlgError):
        factorise(pattern, np.array([0.5]))


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("bad", [-1.0, 0.0, np.nan, np.inf])
def test_a_matrix_that_is_not_positive_definite_is_refused(name, bad):
    case = Case(*PATTERNS[name])
    case.values[-1] = bad
    with pytest.raises(np.linalg.LinAlgError, match="not positive definite"):
        factorise(case.analysed(), case.values)


def test_an_indefinite_matrix_with_a_positive_diagonal_is_refused():
    pattern = analyse(np.array([0, 1, 1]), np.array([0, 1, 0]), 2)
    with pytest.raises(np.linalg.LinAlgError):
        factorise(pattern, np.array([1.0, 1.0, 1.5]))


def test_numbers_for_another_pattern_are_refused():
    case = Case(*grid(4))
    with pytest.raises(ValueError, match="length"):
        factorise(case.analysed(), case.values[:-1])


def test_entries_outside_the_factor_have_no_place():
    pattern = analyse(*nested(12, 3))
    rows, columns = np.array([0, 0, 12, 0]), np.array([1, 13, 13, 12])
    np.testing.assert_array_equal(lookup(pattern, rows, columns) >= 0, [False, False, False, True])


@pytest.mark.parametrize("reverse", [False, True])
def test_nested_factors_fill_nothing_in_any_order(reverse):
    rows, columns, size = nested(600, 40)
    if reverse:
        rows, columns = size - 1 - rows, size - 1 - columns
    assert analyse(rows, columns, size).fill == size + len(rows)


def test_an_arrow_that_points_the_wrong_way_fills_nothing():
    size = 300
    pattern = analyse(np.arange(1, size), np.zeros(size - 1, dtype=np.int64), size)
    assert pattern.fill == 2 * size - 1


def test_a_grid_is_reordered():
    side = 30
    assert analyse(*grid(side)).fill < side**3 / 2


def test_an_order_that_fills_nothing_is_kept_but_for_the_postorder():
    pattern = analyse(*banded(50, 3))
    np.testing.assert_array_equal(pattern.order, np.arange(50))


def test_work_grows_with_the_structure_and_not_with_the_square_of_the_size():
    small, large = analyse(*nested(1000, 100)), analyse(*nested(10_000, 1000))
    assert large.flops == 10 * small.flops
    assert large.fill == 10 * small.fill
    assert large.length <= 1.25 * large.fill
    dense = analyse(*banded(100, 100))
    assert dense.flops == 100 * 101 * 102 / 6
    assert dense.fill == 100 * 101 / 2


def test_the_same_numbers_come_back_bit_by_bit():
    case = Case(*arrow(20, 2, 90))
    first, again = case.analysed(), case.analysed()
    L, M = factorise(first, case.values), factorise(again, case.values)
    np.testing.assert_array_equal(L, M)
    np.testing.assert_array_equal(selected_inverse(first, L), selected_inverse(again, M))


def test_a_pattern_is_read_only():
    pattern = analyse(*grid(4))
    for array in (pattern.order, pattern.start, pattern.rows, pattern.places, pattern.diagonal):
        assert not array.flags.writeable
