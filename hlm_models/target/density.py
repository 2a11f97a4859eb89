"""The log posterior of the variance parameters and free coefficients as a plain function.

b and the other coefficients are integrated out. Compiled code without Python objects: a sampler may
call it from any thread. The PyMC model of `hlm_models.graph.marginal` is the definition; tests hold
this function to its density and gradient.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numba import njit

from hlm_models.algebra.gram import Gram
from hlm_models.algebra.integrated import one_factor_density, one_factor_work
from hlm_models.spec.model import ModelSpec
from hlm_models.target.coordinates import Coordinates, coordinates
from hlm_models.types import FloatArray, IntArray, frozen

__all__ = ["Target", "log_posterior_one", "target"]


@dataclass(frozen=True, eq=False)
class Target:
    """The log posterior of one model at z, where x = centre + whiten @ z is unconstrained.

    `whiten` (d, d) makes the directions of z alike; with centre 0 and whiten I, z is x itself.
    """

    spec: ModelSpec
    coordinates: Coordinates
    centre: FloatArray
    whiten: FloatArray

    @property
    def size(self) -> int:
        return self.coordinates.size

    @cached_property
    def floats(self) -> tuple[FloatArray, ...]:
        """Numbers of the priors and coordinates, in the order that the compiled code takes."""
        split = self.coordinates.integration
        R = np.concatenate([scale.R.ravel() for scale in self.spec.marginal.scales])
        return (
            self.coordinates.scalars,
            self.coordinates.shapes,
            frozen(R),
            split.turn,
            split.fit,
            self.centre,
            self.whiten,
        )

    @cached_property
    def places(self) -> tuple[IntArray, ...]:
        """Indices of the coordinates, in the order that the compiled code takes."""
        at = self.coordinates
        return (at.q, at.row_sd, at.row_first, at.row_partial)

    @cached_property
    def blocks(self) -> tuple[FloatArray | IntArray, ...]:
        """Cross-products, as the kernel takes them."""
        products = self.spec.marginal.products
        if isinstance(products, Gram):
            return (products.G, products.H, products.T)
        from hlm_models.algebra.crossed_pass import several_blocks

        return several_blocks(products)

    @cached_property
    def work_size(self) -> int:
        """Length of the scratch array of one call."""
        p, d = self.coordinates.integration.Q.shape
        squares = int(np.sum(self.coordinates.q**2))
        own = prior_work(self.size, squares, int(np.sum(self.coordinates.q)), p)
        if len(self.spec.blocks) == 1:
            return int(own + one_factor_work(int(self.coordinates.q[0]), p + 1, d))
        from hlm_models.algebra.crossed_pass import several_work

        return int(own + several_work(self.blocks, d))

    def __call__(self, z: FloatArray) -> tuple[float, FloatArray]:
        """Value and gradient (d,) at z (d,)."""
        gradient, work = np.empty(self.size), np.empty(self.work_size)
        arguments = (
            np.ascontiguousarray(z, dtype=np.float64),
            self.floats,
            self.places,
            self.blocks,
            self.coordinates.integration.gaussian,
            gradient,
            work,
        )
        if len(self.spec.blocks) == 1:
            return float(log_posterior_one(*arguments)), gradient
        from hlm_models.target.density_several import log_posterior_several

        return float(log_posterior_several(*arguments)), gradient


def target(spec: ModelSpec) -> Target | None:
    """The log posterior in plain coordinates; None where a prior has no elementary terms."""
    found = coordinates(spec)
    if found is None:
        return None
    return Target(spec, found, frozen(np.zeros(found.size)), frozen(np.eye(found.size)))


@njit(cache=True, nogil=True)
def prior_work(d, squares, rows, p):  # type: ignore[no-untyped-def]
    """Length of the scratch array of `start` and `finish`."""
    return 4 * d + 2 * squares + 1 + p + squares + rows + p


@njit(cache=True, nogil=True, error_model="numpy")
def start(z, floats, places, lam, m, factor, own):  # type: ignore[no-untyped-def] # noqa: PLR0912, PLR0915
    """Log prior with Jacobian at z; fills Lambda, m and factor, and `own` (4, d).

    `own` holds x, the natural values, their derivatives by x, and the gradient of the log prior.
    """
    scalars, shapes, R, turn, fit, centre, whiten = floats
    q, row_sd, row_first, row_partial = places
    d, count = len(z), len(scalars)
    total = 0.0
    for i in range(d):
        value = centre[i]
        for j in range(d):
            value += whiten[i, j] * z[j]
        own[0, i] = value
    for i in range(count):
        x = own[0, i]
        lower, upper = scalars[i, 1], scalars[i, 2]
        if lower == -np.inf:
            value, slope, jacobian, jacobian_slope = x, 1.0, 0.0, 0.0
        elif upper == np.inf:
            slope = np.exp(x)
            value, jacobian, jacobian_slope = lower + slope, x, 1.0
        else:
            e = np.exp(-abs(x))
            share = (1.0 if x >= 0 else e) / (1.0 + e)
            slope = (upper - lower) * e / (1.0 + e) ** 2
            value = lower + (upper - lower) * share
            jacobian = np.log(upper - lower) - abs(x) - 2.0 * np.log1p(e)
            jacobian_slope = 1.0 - 2.0 * share
        gap = value - scalars[i, 3]
        density = scalars[i, 0] + scalars[i, 4] * value - scalars[i, 5] * gap * gap
        density_slope = scalars[i, 4] - 2.0 * scalars[i, 5] * gap
        if scalars[i, 6] != 0.0:
            density -= scalars[i, 6] * np.log1p(gap * gap / scalars[i, 7])
            density_slope -= 2.0 * scalars[i, 6] * gap / (scalars[i, 7] + gap * gap)
        if scalars[i, 8] != 0.0:
            density += scalars[i, 8] * np.log(value)
            density_slope += scalars[i, 8] / value
        if scalars[i, 9] != 0.0:
            density -= scalars[i, 9] / (value * value)
            density_slope += 2.0 * scalars[i, 9] / (value * value * value)
        own[1, i], own[2, i] = value, slope
        own[3, i] = density_slope * slope + jacobian_slope
        total += density + jacobian
    for i in range(count, d):
        x = own[0, i]
        e = np.exp(-abs(x))
        partial = (1.0 - e) / (1.0 + e)
        if x < 0:
            partial = -partial
        a = shapes[i - count, 0]
        own[1, i], own[2, i] = partial, 4.0 * e / (1.0 + e) ** 2
        own[3, i] = -a * partial
        total += a * (-abs(x) - 2.0 * np.log1p(e)) - shapes[i - count, 1]
    sigma = own[1, count - 1]
    row, square = 0, 0
    for f in range(len(q)):
        for a in range(q[f]):
            left = 1.0
            for c in range(q[f]):
                factor[square + a * q[f] + c] = 0.0
            for c in range(row_first[row + a], a):
                at = row_partial[row + a] + c - row_first[row + a]
                factor[square + a * q[f] + c] = own[1, at] * np.sqrt(left)
                left *= own[2, at]
            factor[square + a * q[f] + a] = np.sqrt(left)
        for a in range(q[f]):
            for c in range(q[f]):
                value = 0.0
                for b in range(max(a, c), q[f]):
                    value += (
                        R[square + a * q[f] + b]
                        * own[1, row_sd[row + b]]
                        * factor[square + b * q[f] + c]
                    )
                lam[square + a * q[f] + c] = value / sigma
        row += q[f]
        square += q[f] * q[f]
    free = turn.shape[1]
    for i in range(len(m)):
        m[i] = fit[i]
        for j in range(free):
            m[i] -= turn[i, j] * own[1, count - 1 - free + j]
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def finish(floats, places, lam, factor, own, slopes, gradient, back):  # type: ignore[no-untyped-def]
    """Add to the gradient of the prior the one of the likelihood; fills `gradient` by z."""
    scalars, _, R, turn, _, _, whiten = floats
    q, row_sd, row_first, row_partial = places
    d, count, squares = len(gradient), len(scalars), len(lam)
    sigma = own[1, count - 1]
    by_sigma = slopes[squares]
    row, square = 0, 0
    for f in range(len(q)):
        for b in range(q[f]):
            # back = R' dLambda / sigma, by the elements of diag(sd) factor.
            sd = own[1, row_sd[row + b]]
            by_sd = 0.0
            for c in range(b + 1):
                value = 0.0
                for a in range(b + 1):
                    value += R[square + a * q[f] + b] * slopes[square + a * q[f] + c]
                back[c] = value / sigma
                by_sd += back[c] * factor[square + b * q[f] + c]
            at = row_sd[row + b]
            own[3, at] += by_sd * own[2, at]
            by_sigma -= by_sd * sd
            first = row_first[row + b]
            left = back[b] * factor[square + b * q[f] + b]
            product = 1.0
            for c in range(first, b):
                product *= own[2, row_partial[row + b] + c - first]
            for c in range(b - 1, first - 1, -1):
                at = row_partial[row + b] + c - first
                product /= own[2, at]
                here = own[2, at] * back[c] * np.sqrt(product) - own[1, at] * left
                own[3, at] += 0.5 * sd * here
                left += back[c] * factor[square + b * q[f] + c]
        row += q[f]
        square += q[f] * q[f]
    own[3, count - 1] += by_sigma / sigma * own[2, count - 1]
    free = turn.shape[1]
    for j in range(free):
        value = 0.0
        for i in range(turn.shape[0]):
            value -= turn[i, j] * slopes[squares + 1 + i]
        at = count - 1 - free + j
        own[3, at] += value * own[2, at]
    for j in range(d):
        value = 0.0
        for i in range(d):
            value += whiten[i, j] * own[3, i]
        gradient[j] = value


@njit(cache=True, nogil=True, error_model="numpy")
def log_posterior_one(z, floats, places, blocks, gaussian, gradient, work):  # type: ignore[no-untyped-def]
    """The log posterior at z (d,) for one factor; fills `gradient` (d,); -inf where it fails."""
    d, p, q = len(z), len(floats[4]), places[0][0]
    squares = q * q
    own = work[: 4 * d].reshape((4, d))
    at = 4 * d
    lam = work[at : at + squares]
    at += squares
    factor = work[at : at + squares]
    at += squares
    m = work[at : at + p]
    at += p
    slopes = work[at : at + squares + 1 + p]
    at += squares + 1 + p
    back = work[at : at + q]
    at += q
    prior = start(z, floats, places, lam, m, factor, own)
    log_sigma = np.log(own[1, len(floats[0]) - 1])
    value = prior + one_factor_density(lam, log_sigma, m, blocks, gaussian, slopes, work[at:])
    finish(floats, places, lam, factor, own, slopes, gradient, back)
    if not np.isfinite(value):
        gradient[:] = 0.0
        return -np.inf
    return value
