import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlm_models.algebra.search import hessian, minimise


def quadratic(A, b):
    def function(x):
        return float(0.5 * x @ A @ x - b @ x), A @ x - b

    return function


def rosenbrock(x):
    a, b = x
    value = (1 - a) ** 2 + 100 * (b - a * a) ** 2
    return value, np.array([-2 * (1 - a) - 400 * a * (b - a * a), 200 * (b - a * a)])


def double_well(x):
    """Minima of -1 at (1, 0) and (-1, 0), a saddle of 0 at the origin."""
    a, b = x
    return a**4 - 2 * a**2 + b**2, np.array([4 * a**3 - 4 * a, 2 * b])


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.floats(0.0, 6.0))
def test_a_quadratic_is_minimised_whatever_its_condition(seed, size, digits):
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(size, size)))[0]
    A = (turn * np.logspace(0, digits, size)) @ turn.T
    A = (A + A.T) / 2
    b = rng.normal(size=size)
    found = minimise(quadratic(A, b), rng.normal(size=size))
    best = quadratic(A, b)(np.linalg.solve(A, b))[0]
    # The value is flat at its minimum, so rounding of its terms is all that may be left of it.
    assert found.value - best < 1e-11 * max(1.0, abs(best))
    assert found.decrease < 1e-11 * max(1.0, abs(best))


@pytest.mark.parametrize("start", [(-1.2, 1.0), (3.0, -4.0), (0.0, 0.0), (-50.0, 80.0)])
def test_rosenbrock_is_minimised(start):
    found = minimise(rosenbrock, np.array(start))
    np.testing.assert_allclose(found.x, 1.0, atol=1e-6)
    assert found.value < 1e-13
    assert found.evaluations < 2000


@pytest.mark.parametrize("start", [(0.0, 0.0), (0.0, 1.0), (1e-9, 0.0)])
def test_a_saddle_does_not_hold_the_search(start):
    found = minimise(double_well, np.array(start))
    assert found.value == pytest.approx(-1.0, abs=1e-12)
    assert abs(found.x[0]) == pytest.approx(1.0, abs=1e-6)


def test_an_optimal_start_stays_where_it_is():
    A = np.diag([1.0, 10.0])
    found = minimise(quadratic(A, np.zeros(2)), np.zeros(2))
    np.testing.assert_array_equal(found.x, 0.0)
    # One value, and two gradients a column for each of two Hessians at most.
    assert found.evaluations <= 9
    assert found.decrease == 0.0


def test_a_direction_that_is_flat_on_the_boundary_does_not_matter():
    # As where a standard deviation is zero, and the angle of its column is free.
    def function(x):
        a, b = x
        return 100 + a**2 * (2 + math.cos(b)), np.array(
            [2 * a * (2 + math.cos(b)), -(a**2) * math.sin(b)]
        )

    found = minimise(function, np.array([1.0, 0.7]))
    assert found.value == pytest.approx(100.0, rel=1e-12)
    assert found.decrease < 1e-9


def test_values_that_are_not_finite_are_stepped_back_from():
    def function(x):
        if x[0] <= 0:
            return math.inf, np.full(1, np.nan)
        return x[0] - math.log(x[0]), np.array([1 - 1 / x[0]])

    found = minimise(function, np.array([8.0]))
    assert found.x[0] == pytest.approx(1.0, abs=1e-6)


def test_a_start_whose_value_is_not_finite_comes_back_as_it_is():
    found = minimise(lambda x: (math.inf, np.full(len(x), np.nan)), np.ones(2))
    assert not np.isfinite(found.value)


@pytest.mark.parametrize("curvature", [-1.0, -1e-3])
def test_a_point_of_negative_curvature_has_an_infinite_decrease(curvature):
    # No steps at all: the verdict is about the start.
    A = np.diag([1.0, curvature])
    assert minimise(quadratic(A, np.zeros(2)), np.zeros(2), steps=0).decrease == math.inf


@given(st.floats(-5, 5), st.floats(-5, 5))
def test_hessian_of_rosenbrock_is_its_second_derivative(a, b):
    exact = np.array([[2 - 400 * b + 1200 * a**2, -400 * a], [-400 * a, 200.0]])
    found = hessian(lambda x: rosenbrock(x)[1], np.array([a, b]))
    np.testing.assert_allclose(found, exact, rtol=1e-7, atol=1e-7 * np.abs(exact).max())
