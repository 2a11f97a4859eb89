"""The log posterior of the variance parameters and free coefficients, compiled.

b and the other coefficients are integrated out. No Python objects: a sampler may
call it from any thread. The PyMC model of `hlm_models.graph.marginal` is the definition; tests hold
these functions to its density and gradient.
"""

import numpy as np

from hlm_models.algebra.compiled import compiled
from hlm_models.algebra.integrated import one_factor_density

__all__ = ["finish", "log_posterior_one", "prior_work", "start", "views"]


@compiled()
def prior_work(d, squares, rows, p):  # type: ignore[no-untyped-def]
    """Length of the scratch array of `start` and `finish`."""
    return 5 * d + 3 * squares + rows + 2 * p + 1


@compiled(error_model="numpy")
def start(z, floats, places, lam, m, factor, own):  # type: ignore[no-untyped-def] # noqa: PLR0912, PLR0915
    """Log prior with Jacobian at z; fills Lambda, m and factor, and `own` (5, d).

    `own` holds x, the natural values, their derivatives by x, the gradient of the log prior by x,
    and dx/du, which has the sign of a folded standard deviation.
    """
    scalars, shapes, R, turn, fit, centre, whiten, fold = floats
    q, row_sd, row_first, row_partial = places
    d, count = len(z), len(scalars)
    total = 0.0
    for i in range(d):
        value = centre[i]
        for j in range(d):
            value += whiten[i, j] * z[j]
        own[0, i], own[4, i] = value, 1.0
        if fold[i] > 0.0:
            # From |t| = fold |sinh u| to its logarithm x; at t = 0 the two signs of t meet.
            if abs(value) < 1e-12:
                value = 1e-12
            own[0, i] = np.log(fold[i] * abs(np.sinh(value)))
            own[4, i] = 1.0 / np.tanh(value)
            total += np.log(abs(own[4, i]))
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
                sign = own[4, row_sd[row + a]] * own[4, row_sd[row + c]]
                partial = own[1, at] if sign > 0.0 else -own[1, at]
                factor[square + a * q[f] + c] = partial * np.sqrt(left)
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


@compiled(error_model="numpy")
def finish(value, floats, places, lam, factor, own, slopes, gradient, back):  # type: ignore[no-untyped-def]  # noqa: PLR0912
    """The value, or -inf; adds the likelihood's gradient to the prior's, `gradient` being by z."""
    gradient[:] = 0.0
    if not np.isfinite(value):
        return -np.inf
    scalars, _, R, turn, _, _, whiten, fold = floats
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
                total = 0.0
                for a in range(b + 1):
                    total += R[square + a * q[f] + b] * slopes[square + a * q[f] + c]
                back[c] = total / sigma
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
                sign = own[4, row_sd[row + b]] * own[4, row_sd[row + c]]
                partial = own[1, at] if sign > 0.0 else -own[1, at]
                here = 0.5 * sd * (own[2, at] * back[c] * np.sqrt(product) - partial * left)
                own[3, at] += here if sign > 0.0 else -here
                left += back[c] * factor[square + b * q[f] + c]
        row += q[f]
        square += q[f] * q[f]
    own[3, count - 1] += by_sigma / sigma * own[2, count - 1]
    free = turn.shape[1]
    for j in range(free):
        total = 0.0
        for i in range(turn.shape[0]):
            total -= turn[i, j] * slopes[squares + 1 + i]
        at = count - 1 - free + j
        own[3, at] += total * own[2, at]
    for i in range(d):
        if fold[i] > 0.0:
            # The 1 is of the Jacobian sd = exp x, which goes with that of u.
            own[3, i] = (own[3, i] - 1.0) * own[4, i] + 1.0 / own[4, i]
    for j in range(d):
        for i in range(d):
            gradient[j] += whiten[i, j] * own[3, i]
        if not np.isfinite(gradient[j]):
            gradient[:] = 0.0
            return -np.inf
    return value


@compiled(error_model="numpy")
def views(work, d, p, squares, rows):  # type: ignore[no-untyped-def]
    """Parts of the scratch array: own, lam, factor, m, slopes, back, and the rest."""
    own = work[: 5 * d].reshape((5, d))
    at = 5 * d
    lam = work[at : at + squares]
    at += squares
    factor = work[at : at + squares]
    at += squares
    m = work[at : at + p]
    at += p
    slopes = work[at : at + squares + 1 + p]
    at += squares + 1 + p
    return own, lam, factor, m, slopes, work[at : at + rows], work[at + rows :]


@compiled(error_model="numpy")
def log_posterior_one(z, floats, places, blocks, gaussian, gradient, work):  # type: ignore[no-untyped-def]
    """The log posterior at z (d,) for one factor; fills `gradient` (d,); -inf where it fails."""
    q = places[0]
    own, lam, factor, m, slopes, back, rest = views(
        work, len(z), len(floats[4]), np.sum(q * q), np.sum(q)
    )
    value = start(z, floats, places, lam, m, factor, own)
    log_sigma = np.log(own[1, len(floats[0]) - 1])
    value += one_factor_density(lam, log_sigma, m, blocks, gaussian, slopes, rest)
    return finish(value, floats, places, lam, factor, own, slopes, gradient, back)
