"""Interweaving: effects and their covariance are changed together, given the response.

Effects of which the rows tell little move slowly between b | Psi and Psi | b. Here the standardised
effects stay as they are and Psi moves, which is quick there, and slow where the other is quick. In
scaled columns, where correlated effects are centred: effect e of every level is multiplied by c, or
gets t times another effect added, and Psi follows. The density of log c is, up to a constant,

    -(q2 c^2 - 2 q1 c) / 2 - nu log c - (t2 / c^2 + 2 t1 / c) / 2
        - (nu + 1) / 2 sum_k log(1 + df spread_k^2 P_kk(c))

with q2 the sum of squares of what the effect adds to the rows and q1 its product with what all the
others leave of them, both over sigma^2; t2 and t1 from tr(scale Psi^-1), and P = Psi^-1, whose
diagonal P_kk(c) = high_k / c^2 + 2 middle_k / c + low_k. The auxiliaries are integrated out. Given
them t is normal: both the rows and tr(scale Psi^-1) are quadratic in it.

Source: Yu and Meng (2011), doi:10.1198/jcgs.2011.203main; the moves are of groups of
transformations as in Liu and Sabatti (2000), doi:10.1093/biomet/87.2.353; drawn by the slice
sampler of Neal (2003), doi:10.1214/aos/1056562461, with stepping out.
"""

import numpy as np

from hlm_models.algebra.compiled import compiled
from hlm_models.gibbs.variances import inverse_factor

__all__ = ["draw_log_scale", "log_scaled", "scale_effects", "scaling_work", "shear_effects"]

STEPS = 50
"""Most steps of width 1 that a slice is widened by."""


@compiled(error_model="numpy")
def log_scaled(log_c, terms, nu, rates, curves):  # type: ignore[no-untyped-def]
    """The log density of log c, up to a constant; terms (4,) are q2, q1, t2, t1.

    rates (m,) are df spread^2, all 0 where there is no mixture; curves (3, w) are high, middle and
    low.
    """
    inverse = np.exp(-log_c)
    value = (terms[1] - 0.5 * terms[0] / inverse) / inverse - nu * log_c
    value -= (0.5 * terms[2] * inverse + terms[3]) * inverse
    if rates[0] > 0.0:
        for k in range(len(rates)):
            of_psi = (curves[0, k] * inverse + 2.0 * curves[1, k]) * inverse + curves[2, k]
            value -= 0.5 * (nu + 1.0) * np.log1p(rates[k] * of_psi)
    return value


@compiled(error_model="numpy")
def draw_log_scale(rng, terms, nu, rates, curves):  # type: ignore[no-untyped-def]
    """One update of log c from log c = 0, by a slice."""
    level = log_scaled(0.0, terms, nu, rates, curves) + np.log(1.0 - rng.random())
    lower = -rng.random()
    upper = lower + 1.0
    left = int(STEPS * rng.random())
    right = STEPS - 1 - left
    while left > 0 and log_scaled(lower, terms, nu, rates, curves) > level:
        lower -= 1.0
        left -= 1
    while right > 0 and log_scaled(upper, terms, nu, rates, curves) > level:
        upper += 1.0
        right -= 1
    while True:
        found = lower + (upper - lower) * rng.random()
        # At 0 the density is above the level, but for rounding; not a number ends it too.
        if not log_scaled(found, terms, nu, rates, curves) <= level or upper - lower < 1e-12:
            return found
        if found < 0.0:
            lower = found
        else:
            upper = found


@compiled()
def scaling_work(w):  # type: ignore[no-untyped-def]
    """Length of the scratch array of `scale_effects` and `shear_effects`."""
    return 5 * w * w


@compiled(error_model="numpy")
def _unit_precision(C, back, f, m, P, work):  # type: ignore[no-untyped-def]
    """Fill P (m, m), the inverse of Psi of a unit's scaled effects: back' Psi^-1 back."""
    half = work[: m * m].reshape((m, m))
    turned = work[m * m : 2 * m * m].reshape((m, m))
    inverse_factor(C, f, m, half)
    for i in range(m):
        for j in range(m):
            turned[i, j] = half[i, j] if m == 1 else 0.0
            if m > 1:
                for t in range(i + 1):
                    turned[i, j] += half[i, t] * back[f + t, f + j]
    for i in range(m):
        for j in range(m):
            P[i, j] = 0.0
            for t in range(m):
                P[i, j] += turned[t, i] * turned[t, j]


@compiled(error_model="numpy")
def _move_unit(C, R, back, step, f, m, move, work):  # type: ignore[no-untyped-def] # noqa: PLR0912
    """Raw effects are moved by A = back step R: move becomes A move, and C that of A Psi A'."""
    A = work[: m * m].reshape((m, m))
    AC = work[m * m : 2 * m * m].reshape((m, m))
    for i in range(m):
        for j in range(m):
            AC[i, j] = 0.0
            for t in range(m):
                AC[i, j] += step[i, t] * R[f + t, f + j]
    for i in range(m):
        for j in range(m):
            A[i, j] = 0.0
            for t in range(m):
                A[i, j] += back[f + i, f + t] * AC[t, j]
    for j in range(m):
        for i in range(m):
            AC[i, 0] = 0.0
            for t in range(m):
                AC[i, 0] += A[i, t] * move[f + t, f + j]
        for i in range(m):
            move[f + i, f + j] = AC[i, 0]
    for i in range(m):
        for j in range(m):
            AC[i, j] = 0.0
            for t in range(j, m):
                AC[i, j] += A[i, t] * C[f + t, f + j]
    for i in range(m):
        for j in range(i + 1):
            total = 0.0
            for t in range(m):
                total += AC[i, t] * AC[j, t]
            for t in range(j):
                total -= C[f + i, f + t] * C[f + j, f + t]
            if i == j:
                C[f + i, f + i] = np.sqrt(total)
            else:
                C[f + i, f + j] = total / C[f + j, f + j]


@compiled(error_model="numpy", no_cpython_wrapper=True)
def scale_effects(  # type: ignore[no-untyped-def] # noqa: PLR0912
    rng, units, effects, own, R, back, scaled, inverse_variance, M, g, C, move, terms, curves, work
):
    """Scale every effect once; C (Q, Q) becomes the factor of the new Psi, move (Q, Q) follows.

    R, back (Q, Q) turn raw effects into scaled ones and again; scaled (U, w, w) holds the units'
    scale for scaled effects. M (F, F) and g (F,) are the products of the features, among each other
    and with y - X beta, `effects` (F,) their effects, and own (Q,) those that are in the rows; M
    and g are changed along. Fills for every effect (of a shared variance,
    the first) terms (Q, 4) and curves (Q, 3, w) of its law, with log c in terms[:, 4].
    """
    w = scaled.shape[1]
    F = len(g)
    for u in range(len(units.first)):
        f, m = units.first[u], units.size[u]
        wide = units.width[u] - m + 1
        P = work[: m * m].reshape((m, m))
        step = work[w * w : w * w + m * m].reshape((m, m))
        rest = work[2 * w * w :]
        _unit_precision(C, back, f, m, P, rest)
        for a in range(m):
            # The move is of the effects e to e + wide - 1.
            e = f + a
            for c in range(5):
                terms[e, c] = 0.0
            for i in range(e, e + wide):
                terms[e, 1] += g[own[i]]
                for j in range(len(own)):
                    if e <= j < e + wide:
                        terms[e, 0] += M[own[i], own[j]]
                    else:
                        terms[e, 1] -= M[own[i], own[j]]
            terms[e, 0] *= inverse_variance
            terms[e, 1] *= inverse_variance
            terms[e, 2] = scaled[u, a, a] * P[a, a]
            for b in range(m):
                if b != a:
                    terms[e, 3] += scaled[u, a, b] * P[a, b]
            for k in range(m):
                here = R[e, f + k] if m > 1 else 1.0
                middle, low = 0.0, 0.0
                for b in range(m):
                    if b != a:
                        middle += here * P[a, b] * R[f + b, f + k]
                        for c in range(m):
                            if c != a:
                                low += R[f + b, f + k] * P[b, c] * R[f + c, f + k]
                curves[e, 0, k] = here * P[a, a] * here
                curves[e, 1, k] = middle
                curves[e, 2, k] = low
            terms[e, 4] = draw_log_scale(rng, terms[e], units.nu[u], units.rates[u, :m], curves[e])
            c = np.exp(terms[e, 4])
            for b in range(m):
                P[a, b] /= c
                P[b, a] /= c
                step[a, b] = c if a == b else 0.0
            for i in range(F):
                if e <= effects[i] < e + wide:
                    g[i] *= c
                    for j in range(F):
                        M[i, j] *= c
                        M[j, i] *= c
        if m > 1:
            _move_unit(C, R, back, step, f, m, move, rest)
            continue
        for i in range(f, f + wide):
            C[i, i] *= step[0, 0]
            move[i, i] *= step[0, 0]


@compiled(error_model="numpy", no_cpython_wrapper=True)
def shear_effects(  # type: ignore[no-untyped-def] # noqa: PLR0912
    rng, units, own, R, back, scaled, inverse_variance, M, g, C, a, move, shears, work
):
    """Add to every effect of a unit a multiple t of every other one; else as `scale_effects`.

    a (U, w) are the auxiliaries, on which the law of t is conditional. Fills shears (U, w, w, 3):
    of effect i and the other j, precision and mean of t's normal law, and t.
    """
    w = scaled.shape[1]
    F = len(g)
    for u in range(len(units.first)):
        f, m = units.first[u], units.size[u]
        if m == 1:
            continue
        P = work[: m * m].reshape((m, m))
        step = work[w * w : w * w + m * m].reshape((m, m))
        S = work[2 * w * w : 2 * w * w + m * m].reshape((m, m))
        rest = work[3 * w * w :]
        _unit_precision(C, back, f, m, P, rest)
        for i in range(m):
            for j in range(m):
                step[i, j] = 1.0 if i == j else 0.0
                S[i, j] = scaled[u, i, j]
                if units.df[u] > 0.0:
                    for k in range(m):
                        turned = R[f + i, f + k] * R[f + j, f + k]
                        S[i, j] += 2.0 * units.df[u] * turned / a[u, k]
        for i in range(m):
            for j in range(m):
                if i == j:
                    continue
                added = own[f] + i * m + j
                right = g[added]
                for b in range(len(own)):
                    right -= M[added, own[b]]
                precision = inverse_variance * M[added, added] + S[j, j] * P[i, i]
                mean = inverse_variance * right
                for k in range(m):
                    mean += P[i, k] * S[k, j]
                mean /= precision
                t = mean + rng.standard_normal() / np.sqrt(precision)
                shears[u, i, j, 0] = precision
                shears[u, i, j, 1] = mean
                shears[u, i, j, 2] = t
                for k in range(m):
                    P[k, j] -= t * P[k, i]
                    step[i, k] += t * step[j, k]
                for k in range(m):
                    P[j, k] -= t * P[i, k]
                for x in range(m):
                    into, out = own[f] + x * m + i, own[f] + x * m + j
                    g[into] += t * g[out]
                    for k in range(F):
                        M[into, k] += t * M[out, k]
                    for k in range(F):
                        M[k, into] += t * M[k, out]
        _move_unit(C, R, back, step, f, m, move, rest)
