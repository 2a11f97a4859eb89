"""The log posterior of the variance parameters and free coefficients, compiled.

b and the other coefficients are integrated out. No Python objects: a sampler may
call it from any thread. The PyMC model of `hlm_models.graph.marginal` is the definition; tests hold
these functions to its density and gradient.
"""

import numpy as np

from hlm_models.algebra.compiled import compiled
from hlm_models.algebra.integrated import one_factor_density

__all__ = [
    "finish",
    "log_posterior_one",
    "of_matrices",
    "prior_work",
    "sigma_of",
    "start",
    "views",
]


@compiled()
def prior_work(d, squares, rows, p):  # type: ignore[no-untyped-def]
    """Length of the scratch array of `start`, `of_matrices` and `finish`."""
    return 5 * d + 5 * squares + 3 * rows + 2 * p + 1


@compiled(error_model="numpy")
def sigma_of(places, own):  # type: ignore[no-untyped-def]
    """Sigma, which is 1 where it is known."""
    at = places[4][1]
    return own[1, at] if at >= 0 else 1.0


@compiled(error_model="numpy")
def start(z, floats, places, lam, m, factor, own):  # type: ignore[no-untyped-def] # noqa: PLR0912, PLR0915
    """Log prior with Jacobian at z; fills Lambda, m and factor, and `own` (5, d).

    `own` holds x, the natural values, their derivatives by x, the gradient of the log prior by x,
    and dx/du, which has the sign of a folded standard deviation.
    """
    scalars, shapes, _, R, turn, fit, centre, whiten, fold = floats
    q, row_sd, row_first, row_partial, singles, _ = places
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
    sigma = sigma_of(places, own)
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
            m[i] -= turn[i, j] * own[1, singles[0] + j]
    return total


@compiled(error_model="numpy")
def of_matrices(floats, places, factor, own, pull, spare):  # type: ignore[no-untyped-def]  # noqa: PLR0912
    """What the priors of Psi as a whole have beyond powers of |Psi|: log density and gradient.

    `pull` is filled with the gradient by M = diag(sd) factor, zero for the other terms. With
    N = M^-1, K = N' N = Psi^-1 and W = -scale / 2 - diag(power rate_k / (1 + rate_k K_kk)), it is
    the lower triangle of -2 K W K M = -2 N' (N W N').
    """
    row_sd, forms, numbers = places[1], places[5], floats[2]
    pull[:] = 0.0
    total, at = 0.0, 0
    for t in range(len(forms)):
        row, place, stride, q = forms[t, 0], forms[t, 1], forms[t, 2], forms[t, 3]
        power, rate, scale = numbers[at], at + 1, at + 1 + q
        at += 1 + q + q * q
        N, weight, v = spare[: q * q], spare[q * q :], spare[q * q + q :]
        for k in range(q):
            weight[k] = 0.0
        for i in range(q):
            here = factor[place + i * stride + i]
            N[i * q + i] = 1.0 / (own[1, row_sd[row + i]] * here)
            for k in range(i):
                value = 0.0
                for j in range(k, i):
                    value -= factor[place + i * stride + j] * N[j * q + k]
                N[i * q + k] = value / here
            for k in range(i + 1):
                weight[k] += N[i * q + k] ** 2
        for k in range(q):
            total -= power * np.log1p(numbers[rate + k] * weight[k])
            weight[k] = power * numbers[rate + k] / (1.0 + numbers[rate + k] * weight[k])
        for i in range(q):
            for k in range(i + 1):
                value = 0.0
                for j in range(i + 1):
                    value += numbers[scale + k * q + j] * N[i * q + j]
                total -= 0.5 * N[i * q + k] * value
                v[k] = -0.5 * value - weight[k] * N[i * q + k]
            for b in range(i + 1):
                value = 0.0
                for k in range(b + 1):
                    value += N[b * q + k] * v[k]
                for a in range(b, i + 1):
                    pull[place + a * stride + b] -= 2.0 * N[i * q + a] * value
    return total


@compiled(error_model="numpy")
def finish(value, floats, places, factor, pull, own, slopes, gradient, back):  # type: ignore[no-untyped-def]  # noqa: PLR0912
    """The value, or -inf; adds the likelihood's gradient to the prior's, `gradient` being by z."""
    gradient[:] = 0.0
    if not np.isfinite(value):
        return -np.inf
    _, _, _, R, turn, _, _, whiten, fold = floats
    q, row_sd, row_first, row_partial, singles, _ = places
    d, squares = len(gradient), len(factor)
    sigma = sigma_of(places, own)
    by_sigma = slopes[squares]
    row, square = 0, 0
    for f in range(len(q)):
        for b in range(q[f]):
            # back = R' dLambda / sigma and pull, by the elements of diag(sd) factor.
            sd = own[1, row_sd[row + b]]
            by_sd = 0.0
            for c in range(b + 1):
                total = 0.0
                for a in range(b + 1):
                    total += R[square + a * q[f] + b] * slopes[square + a * q[f] + c]
                here = factor[square + b * q[f] + c]
                by_sigma -= total / sigma * sd * here
                back[c] = total / sigma + pull[square + b * q[f] + c]
                by_sd += back[c] * here
            at = row_sd[row + b]
            own[3, at] += by_sd * own[2, at]
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
    if singles[1] >= 0:
        own[3, singles[1]] += by_sigma / sigma * own[2, singles[1]]
    free = turn.shape[1]
    for j in range(free):
        total = 0.0
        for i in range(turn.shape[0]):
            total -= turn[i, j] * slopes[squares + 1 + i]
        at = singles[0] + j
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
    """Parts of the scratch array: own, lam, factor, pull, m, slopes, back, and the rest."""
    own = work[: 5 * d].reshape((5, d))
    at = 5 * d
    lam = work[at : at + squares]
    at += squares
    factor = work[at : at + squares]
    at += squares
    pull = work[at : at + squares]
    at += squares
    m = work[at : at + p]
    at += p
    slopes = work[at : at + squares + 1 + p]
    at += squares + 1 + p
    return own, lam, factor, pull, m, slopes, work[at : at + rows], work[at + rows :]


@compiled(error_model="numpy")
def log_posterior_one(z, floats, places, blocks, gaussian, gradient, work):  # type: ignore[no-untyped-def]
    """The log posterior at z (d,) for one factor; fills `gradient` (d,); -inf where it fails."""
    q = places[0]
    own, lam, factor, pull, m, slopes, back, rest = views(
        work, len(z), len(floats[5]), np.sum(q * q), np.sum(q)
    )
    value = start(z, floats, places, lam, m, factor, own)
    value += of_matrices(floats, places, factor, own, pull, rest)
    log_sigma = np.log(sigma_of(places, own))
    value += one_factor_density(lam, log_sigma, m, blocks, gaussian, slopes, rest)
    return finish(value, floats, places, factor, pull, own, slopes, gradient, back)
