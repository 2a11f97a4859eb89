"""Minimisation by a trust region on exact gradients, for a handful of parameters."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hlm_models.types import FloatArray

__all__ = ["Found", "evaluate", "hessian", "minimise"]

ValueAndGradient = Callable[[FloatArray], tuple[float, FloatArray]]

REJECTIONS = 3
"""Steps rejected one after the other, before the curvature is taken anew."""


@dataclass(frozen=True, slots=True)
class Found:
    """Where a search ended; `hessian` is its last picture of the curvature there."""

    x: FloatArray
    value: float
    gradient: FloatArray
    hessian: FloatArray
    evaluations: int

    @property
    def decrease(self) -> float:
        """How far the value is above the minimum of the local quadratic.

        Infinite where the curvature is negative in some direction.
        """
        unit = np.maximum(1.0, np.abs(self.x))
        curvature, axes = np.linalg.eigh(self.hessian * np.outer(unit, unit))
        # A direction along which the value hardly changes over a unit is flat, not curved.
        floor = 1e-7 * max(float(np.abs(curvature).max(initial=0.0)), 1.0)
        if curvature.min(initial=0.0) < -floor:
            return float("inf")
        slopes = axes.T @ (self.gradient * unit)
        return 0.5 * float(np.sum(slopes**2 / np.maximum(curvature, floor)))


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
    return Found(x, value, gradient, H, 1 + 2 * len(x))


def minimise(
    function: ValueAndGradient,
    start: FloatArray | Found,
    *,
    curvature: FloatArray | None = None,
    tolerance: float = 0.0,
    steps: int = 500,
) -> Found:
    """Local minimum of `function` from `start`, by quasi-Newton steps within a trust region.

    `start` may be the end of another search, to go on from there.

    The curvature starts as forward differences of the gradient (or as `curvature`) and follows by
    symmetric rank-one updates, which see negative curvature too: a saddle (theta = 0 always is a
    point of zero gradient) does not hold the search. Stops where the quadratic promises less than
    `tolerance`, and in any case where no step lowers the value beyond rounding.

    Source: Nocedal and Wright (2006), Numerical Optimization, section 4.3 and algorithm 6.2.
    """
    evaluations = 0

    def evaluate(x: FloatArray) -> tuple[float, FloatArray]:
        nonlocal evaluations
        evaluations += 1
        return function(x)

    if isinstance(start, Found):
        x, value, gradient, curvature = start.x, start.value, start.gradient, start.hessian
    else:
        x = start.astype(float)
        value, gradient = evaluate(x)
    if not (np.isfinite(value) and np.isfinite(gradient).all()):
        return Found(x, value, gradient, np.zeros((len(x), len(x))), evaluations)
    H = _differences(evaluate, x, gradient) if curvature is None else curvature
    fresh, rejected, radius = curvature is None, 0, 1.0
    for _ in range(steps):
        curvatures, axes = np.linalg.eigh(H)
        slopes = axes.T @ gradient
        floor = 1e-8 * max(float(np.abs(curvatures).max(initial=0.0)), 1e-300)
        saddle = bool(curvatures.min(initial=0.0) < -floor)
        noise = 1e-12 * max(abs(value), 1.0)
        promised = 0.5 * float(np.sum(slopes**2 / np.maximum(curvatures, floor)))
        if not saddle and promised < max(1e-3 * noise, tolerance):
            break
        step, predicted = _within(curvatures, slopes, radius, floor, escape=saddle)
        candidate = x + axes @ step
        new_value, new_gradient = evaluate(candidate)
        fine = np.isfinite(new_value) and np.isfinite(new_gradient).all()
        actual = value - new_value
        settled = fine and abs(actual) <= noise and predicted <= noise
        if settled and not np.linalg.norm(new_gradient) < 0.5 * np.linalg.norm(gradient):
            if fresh:
                break
            H, fresh = _differences(evaluate, x, gradient), True
            continue
        length = float(np.linalg.norm(step))
        # A step too long says nothing of a saddle, which its curvature would hide.
        if fine and (actual > 0 or not saddle):
            H, fresh = _rank_one(H, candidate - x, new_gradient - gradient), False
        if fine and (settled or actual > 0):
            good = settled or actual > 0.1 * predicted
            x, value, gradient, rejected = candidate, new_value, new_gradient, 0
            radius = max(radius, 2.5 * length) if good else 0.5 * length
        else:
            rejected += 1
            radius = 0.25 * length
            if radius < 1e-12:
                break
        if rejected == REJECTIONS:
            H, fresh, rejected = _differences(evaluate, x, gradient), True, 0
    return Found(x, value, gradient, H, evaluations)


def _differences(function: ValueAndGradient, x: FloatArray, gradient: FloatArray) -> FloatArray:
    """Forward differences of the gradient, symmetrised."""
    H = np.empty((len(x), len(x)))
    for i in range(len(x)):
        there = x.copy()
        there[i] += 1e-5 * max(1.0, abs(x[i]))
        H[i] = (function(there)[1] - gradient) / (there[i] - x[i])
    # Beside a wall of values that are not finite, go down the gradient until steps tell more.
    return (H + H.T) / 2 if np.isfinite(H).all() else np.eye(len(x))


def _rank_one(H: FloatArray, step: FloatArray, change: FloatArray) -> FloatArray:
    """H with the curvature seen along `step`; as it is where that says next to nothing."""
    missed = change - H @ step
    weight = float(missed @ step)
    if abs(weight) <= 1e-8 * float(np.linalg.norm(missed) * np.linalg.norm(step)):
        return H
    return np.asarray(H + np.outer(missed, missed) / weight)


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
