"""The ML deviance with one population parameter held at a value, in coordinates of what is free.

A coefficient is held by constrained least squares on the blocks of S. A standard deviation of an
effect is one coordinate of Lambda once the scaled effects are turned so that the effect comes
first: with Lambda = turn @ ell, ell lower triangular, it is sigma |ell_00| times a constant, and
log sigma takes the place of ell_00, or nothing where sigma is known. A correlation is that of the
first two turned effects, whose standard deviations are squares of coordinates, so that they keep
their sign and may be zero.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from hlm_models.algebra.criterion import Swept, full_deviance, profiled
from hlm_models.algebra.search import Found, minimise
from hlm_models.spec.marginal import Marginal, lower_factor
from hlm_models.types import FloatArray, IntArray

__all__ = ["Slice", "coefficient", "correlation", "effect_sd", "residual_sd"]

CLOSE = 1e-9
"""How near, in units of the deviance, the search for the free parameters comes."""

ZERO = 1e-6
"""A standard deviation below this part of sigma, in scaled columns, is zero."""


@dataclass(frozen=True, slots=True)
class Slice:
    """The deviance (scaled columns) as a function of a parameter's value and of free coordinates.

    estimate, start : value and coordinates at the ML estimates
    step : a first step to take in the value
    low, high : the parameter's bounds
    further : coordinates to start from as well, given those to start from
    """

    function: Callable[[float, FloatArray], tuple[float, FloatArray]]
    estimate: float
    start: FloatArray
    step: float
    low: float = -math.inf
    high: float = math.inf
    further: Callable[[FloatArray], tuple[FloatArray, ...]] = lambda x: ()  # noqa: ARG005

    def best(self, value: float, x: FloatArray) -> Found:
        """The least deviance with the parameter at `value`, searched from `x` on.

        The curvature is taken anew: that of a neighbour does not tell a saddle, as theta = 0 may
        be, from a minimum.
        """
        function = partial(self._guarded, value)
        found = [minimise(function, one, tolerance=CLOSE) for one in (x, *self.further(x))]
        return min(found, key=lambda one: one.value if math.isfinite(one.value) else math.inf)

    def _guarded(self, value: float, x: FloatArray) -> tuple[float, FloatArray]:
        try:
            return self.function(value, x)
        except np.linalg.LinAlgError:
            return math.inf, np.full(len(x), math.nan)


def coefficient(marginal: Marginal, k: int, theta: FloatArray) -> Slice:
    """Coefficient k of the raw columns; free: theta."""
    design = marginal.design
    row = np.linalg.solve(design.x_scaling.R.T, np.eye(design.p)[k])
    at = marginal.at(theta, reml=False)

    def function(value: float, x: FloatArray) -> tuple[float, FloatArray]:
        found = marginal.sweep(x)
        away = value - float(row @ design.y_fit)
        deviance, M = _held(found, design.n, row, away, sigma=design.sigma)
        return deviance, marginal.gradient(x, M)

    return Slice(
        function,
        estimate=float(marginal.beta(at)[k]),
        start=theta,
        step=0.5 * float(np.sqrt(marginal.vcov(at.sigma, at.factor)[k, k])),
    )


def _held(
    found: Swept, n: int, row: FloatArray, value: float, *, sigma: float | None
) -> tuple[float, tuple[FloatArray, ...]]:
    """Deviance, and its derivatives with respect to each P, where row @ beta = value."""
    p = len(row)
    S_xx, S_xy, S_yy = found.S[:p, :p], found.S[:p, p], float(found.S[p, p])
    beta, towards = np.linalg.solve(S_xx, np.column_stack([S_xy, row])).T
    move = (value - float(row @ beta)) / float(row @ towards)
    r2 = S_yy - float(S_xy @ beta) + move**2 * float(row @ towards)
    v = np.append(-(beta + move * towards), 1.0)
    variance = r2 / n if sigma is None else sigma**2
    deviance = found.logdet + n * math.log(2 * math.pi * variance) + r2 / variance
    return deviance, found.derivative(1.0, np.outer(v, v) / variance)


def residual_sd(marginal: Marginal, theta: FloatArray) -> Slice:
    """The residual standard deviation; free: theta."""
    n, sigma = marginal.design.n, marginal.at(theta, reml=False).sigma

    def function(value: float, x: FloatArray) -> tuple[float, FloatArray]:
        if value <= 0:
            return math.inf, np.full(len(x), math.nan)
        deviance, gradient = marginal.full(np.append(x, math.log(value)), reml=False)
        return deviance, gradient[:-1]

    step = 0.5 * sigma / math.sqrt(2 * n)
    return Slice(function, estimate=sigma, start=theta, step=step, low=0.0)


def effect_sd(marginal: Marginal, index: int, k: int, theta: FloatArray) -> Slice:
    """The standard deviation of raw effect k of a block; free: the rest of Lambda, and sigma."""
    n, sigma = marginal.design.n, marginal.at(theta, reml=False).sigma
    frame = _frame(marginal, index, [k])
    start = frame.enter(theta)
    unit, relative = frame.size * sigma, abs(float(start[frame.first]))
    estimate, step = unit * relative if relative > ZERO else 0.0, 0.1 * unit * max(relative, 0.1)

    def beside_known(value: float, x: FloatArray) -> tuple[float, FloatArray]:
        there = np.insert(x, frame.first, value / unit)
        inner = frame.leave(there)
        at = marginal.at(inner, reml=False)
        return at.value, np.delete(frame.gradient(there, inner, at.M), frame.first)

    if marginal.design.sigma is not None:
        start = np.delete(start, frame.first)
        return Slice(beside_known, estimate, start, step=step, low=0.0)

    def function(value: float, x: FloatArray) -> tuple[float, FloatArray]:
        residual = math.exp(x[frame.first])
        there = x.copy()
        there[frame.first] = value / (frame.size * residual)
        inner = frame.leave(there)
        deviance, M, slope = full_deviance(marginal.sweep(inner), n, residual, reml=False)
        gradient = frame.gradient(there, inner, M)
        gradient[frame.first] = slope - there[frame.first] * gradient[frame.first]
        return deviance, gradient

    start[frame.first] = math.log(sigma)
    return Slice(function, estimate, start, step=step, low=0.0)


def correlation(marginal: Marginal, index: int, i: int, j: int, theta: FloatArray) -> Slice | None:
    """The correlation of raw effects i and j of a block; free: the rest of Lambda.

    None where one of the effects does not vary, so that there is no correlation.
    """
    frame = _frame(marginal, index, [i, j])
    a, cross, b = frame.triangle[0, 0], frame.triangle[0, 1], frame.triangle[1, 1]
    unit = math.hypot(cross, b)
    first, second = frame.first, frame.first + 1
    third = frame.first + frame.q

    def unpacked(value: float, x: FloatArray) -> FloatArray:
        """Coordinates of the frame: sd of effect i over a is s^2, of effect j over unit t^2."""
        s, t = x[first], x[second]
        along, across = value * unit * t**2, math.sqrt(1 - value**2) * unit * t**2
        there = np.insert(x, third, across / b)
        there[first], there[second] = s**2, (along - cross * s**2) / b
        return there

    def function(value: float, x: FloatArray) -> tuple[float, FloatArray]:
        there = unpacked(value, x)
        inner = frame.leave(there)
        at = profiled(
            marginal.sweep(inner), marginal.design.n, reml=False, sigma=marginal.design.sigma
        )
        slopes = frame.gradient(there, inner, at.M)
        s, t = x[first], x[second]
        gradient = np.delete(slopes, third)
        gradient[first] = 2 * s * (slopes[first] - cross / b * slopes[second])
        gradient[second] = (
            2 * t * unit / b * (value * slopes[second] + math.sqrt(1 - value**2) * slopes[third])
        )
        return at.value, gradient

    def further(x: FloatArray) -> tuple[FloatArray, ...]:
        """Held far from the estimate, a correlation can make either effect vanish."""
        smaller = []
        for place in (first, second):
            one = x.copy()
            one[place] *= 0.2
            smaller.append(one)
        return tuple(smaller)

    inside = frame.enter(theta)
    loading = np.array([cross * inside[first] + b * inside[second], b * inside[third]])
    sd_i, sd_j = a * inside[first], float(np.hypot(*loading))
    if sd_i <= ZERO * a or sd_j <= ZERO * unit:
        return None
    r = float(loading[0]) / sd_j
    r = math.copysign(1.0, r) if 1 - abs(r) < ZERO else r
    start = np.delete(inside, third)
    start[first], start[second] = math.sqrt(sd_i / a), math.sqrt(sd_j / unit)
    return Slice(function, r, start, step=0.1, low=-1.0, high=1.0, further=further)


@dataclass(frozen=True, slots=True)
class _Frame:
    """Coordinates of theta with one term turned: Lambda = turn @ ell, ell lower triangular.

    Raw effects are triangle' (2 or 1 rows) times the first turned effects. The term's entries of
    theta, from `first` on, become the lower triangle of ell by columns; without `turn`, theta
    stays as it is, and entry `first` is the one of the effect. `lower` holds the rows and columns
    of a lower triangle by columns.
    """

    marginal: Marginal
    index: int
    columns: slice
    q: int
    first: int
    triangle: FloatArray
    turn: FloatArray | None
    lower: tuple[IntArray, IntArray]

    @property
    def size(self) -> float:
        """Standard deviation of the first raw effect, over sigma |entry `first`|."""
        return float(self.triangle[0, 0])

    @property
    def place(self) -> slice:
        return slice(self.first, self.first + self.q * (self.q + 1) // 2)

    def enter(self, theta: FloatArray) -> FloatArray:
        """These coordinates of a theta."""
        x = theta.copy()
        if self.turn is not None:
            Lambda = self.marginal.factors(theta)[self.index][self.columns, self.columns]
            x[self.place] = lower_factor(self.turn.T @ Lambda)[self.lower]
        return x

    def leave(self, x: FloatArray) -> FloatArray:
        """The theta of these coordinates."""
        theta = x.copy()
        if self.turn is not None:
            theta[self.place] = lower_factor(self.turn @ self._ell(x))[self.lower]
        return theta

    def gradient(self, x: FloatArray, theta: FloatArray, M: tuple[FloatArray, ...]) -> FloatArray:
        """Gradient in x of f with derivative M = df/dP of every block."""
        found = self.marginal.gradient(theta, M)
        if self.turn is not None:
            inner = self.turn.T @ M[self.index][self.columns, self.columns] @ self.turn
            found[self.place] = (2 * inner @ self._ell(x))[self.lower]
        return found

    def _ell(self, x: FloatArray) -> FloatArray:
        ell = np.zeros((self.q, self.q))
        ell[self.lower] = x[self.place]
        return ell


def _frame(marginal: Marginal, index: int, effects: list[int]) -> _Frame:
    """Coordinates in which one raw effect of a block comes first, or two of one term do."""
    block, entries = marginal.design.blocks[index], marginal.entries[index]
    before = sum(one.size for one in marginal.entries[:index])
    [number] = [
        t
        for t, term in enumerate(block.terms)
        if term.columns.start <= effects[0] < term.columns.stop
    ]
    columns = block.terms[number].columns
    raw = np.linalg.inv(marginal.scales[index].R)[effects, columns].T
    if marginal.structures[index][number] == "unstructured":
        [inside] = np.nonzero((entries.rows >= columns.start) & (entries.rows < columns.stop))
        turn, triangle = np.linalg.qr(raw, mode="complete")
        triangle = triangle[: len(effects)]
        sign = np.sign(np.diag(triangle))
        turn[:, : len(effects)] *= sign
        first = before + int(entries.index[inside].min())
        q = block.terms[number].q
        column, row = np.triu_indices(q)
        triangle = sign[:, None] * triangle
        return _Frame(marginal, index, columns, q, first, triangle, turn, (row, column))
    [inside] = np.nonzero((entries.rows == effects[0]) & (entries.columns == effects[0]))
    [entry] = inside
    size = np.linalg.norm(raw) * entries.weight[entry]
    first = before + int(entries.index[entry])
    one = np.zeros(1, dtype=np.int64)
    return _Frame(marginal, index, columns, 1, first, np.array([[size]]), None, (one, one))
