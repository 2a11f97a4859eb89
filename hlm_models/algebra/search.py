"""Minimisation by a trust region on exact gradients, for a handful of parameters."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hlm_models.types import FloatArray

__all__ = ["Found", "evaluate", "hessian", "minimise"]

ValueAndGradient = Callable[[FloatArray], tuple[float, FloatArray]]


@dataclass(frozen=True, slots=True)
class Found:
    """Where a search ended.

    `decrease` estimates how far the value is above the minimum of the local quadratic; it is
    infinite where the curvature is negative in some direction.
    """

    x: FloatArray
    value: float
    gradient: FloatArray
    hessian: FloatArray
    decrease: float
    evaluations: int


def hessian(gradient: Callable[[FloatArray], FloatArray], x: FloatArray) -> FloatArray:
    """Central differences of an exact gradient, symmetrised; error of order 1e-9 relative."""
    H = np.empty((len(x), len(x)))
    for i in range(len(x)):
        h = 1e-5 * max(1.0, abs(x[i]))
        up, down = x.copy(), x.copy()
        up[i] += h
        down[i] -= h
        H[i] = (gradient(up) - gradient(down)) / (up[i] - down[i])
    return (H + H.T) / 2


def evaluate(function: ValueAndGradient, x: FloatArray) -> Found:
    """Where a search would stand that started at `x` and did not move."""
    value, gradient = function(x)
    H = hessian(lambda at: function(at)[1], x)
    return Found(x, value, gradient, H, _decrease(H, gradient), 1 + 2 * len(x))


def minimise(function: ValueAndGradient, start: FloatArray, *, steps: int = 200) -> Found:
    """Local minimum of `function` from `start`, by Newton steps within a trust region.

    Directions of negative curvature are followed, so that a saddle (theta = 0 always is a point of
    zero gradient) does not hold the search. Stops where no step lowers the value beyond rounding.

    Source: Nocedal and Wright (2006), Numerical Optimization, section 4.3.
    """
    evaluations = 0

    def evaluate(x: FloatArray) -> tuple[float, FloatArray]:
        nonlocal evaluations
        evaluations += 1
        return function(x)

    x = start.astype(float)
    value, gradient = evaluate(x)
    radius = 1.0
    for _ in range(steps):
        H = hessian(lambda at: evaluate(at)[1], x)
        curvature, axes = np.linalg.eigh(H)
        slopes = axes.T @ gradient
        floor = 1e-8 * max(float(np.abs(curvature).max(initial=0.0)), 1e-300)
        saddle = bool(curvature.min(initial=0.0) < -floor)
        noise = 1e-12 * max(abs(value), 1.0)
        flat = np.maximum(curvature, floor)
        if not saddle and 0.5 * float(np.sum(slopes**2 / flat)) < 1e-3 * noise:
            return Found(x, value, gradient, H, _decrease(H, gradient), evaluations)
        step, predicted = _within(curvature, slopes, radius, floor, escape=saddle)
        candidate = x + axes @ step
        new_value, new_gradient = evaluate(candidate)
        actual = value - new_value
        fine = np.isfinite(new_value) and np.isfinite(new_gradient).all()
        settled = fine and abs(actual) <= noise and predicted <= noise
        if settled and not np.linalg.norm(new_gradient) < 0.5 * np.linalg.norm(gradient):
            break
        if fine and (settled or actual > 0.1 * predicted):
            x, value, gradient = candidate, new_value, new_gradient
            radius = max(radius, 2.5 * float(np.linalg.norm(step)))
        elif fine and actual > 0:
            x, value, gradient = candidate, new_value, new_gradient
        else:
            radius = 0.25 * float(np.linalg.norm(step))
            if radius < 1e-12:
                break
    H = hessian(lambda at: evaluate(at)[1], x)
    return Found(x, value, gradient, H, _decrease(H, gradient), evaluations)


def _decrease(H: FloatArray, gradient: FloatArray) -> float:
    curvature, axes = np.linalg.eigh(H)
    floor = 1e-7 * max(float(np.abs(curvature).max(initial=0.0)), 1e-300)
    if curvature.min(initial=0.0) < -floor:
        return float("inf")
    return 0.5 * float(np.sum((axes.T @ gradient) ** 2 / np.maximum(curvature, floor)))


def _within(
    curvature: FloatArray, slopes: FloatArray, radius: float, floor: float, *, escape: bool
) -> tuple[FloatArray, float]:
    """Step in eigen-coordinates that lowers the quadratic most in the radius, and by how much."""
    shift = max(0.0, -float(curvature.min(initial=0.0))) + floor

    def step_at(extra: float) -> FloatArray:
        return -slopes / (curvature + extra)

    low = 0.0 if curvature.min(initial=0.0) > floor else shift
    step = step_at(low)
    if np.linalg.norm(step) > radius:
        high = low + float(np.linalg.norm(slopes)) / radius + shift
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (
                (middle, high) if np.linalg.norm(step_at(middle)) > radius else (low, middle)
            )
        step = step_at(high)
    elif escape:
        # The hard case: go to the edge of the region along the most negative curvature.
        worst = int(np.argmin(curvature))
        rest = float(np.sum(step**2) - step[worst] ** 2)
        sign = -1.0 if slopes[worst] > 0 else 1.0
        step[worst] = sign * np.sqrt(max(radius**2 - rest, 0.0))
    predicted = -float(slopes @ step + 0.5 * np.sum(curvature * step**2))
    return step, predicted
