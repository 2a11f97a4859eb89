"""Interweaving: effects and their standard deviation are scaled together, given the response.

An effect whose standard deviation is small beside what the rows tell moves slowly between b | Psi
and Psi | b. Here b / sd stays as it is and sd moves, which is quick there, and slow where the other
is quick. In scaled columns, where correlated effects are centred: the move multiplies effect e of
every level by c, and Psi follows. The density of log c is, up to a constant,

    -(q2 c^2 - 2 q1 c) / 2 - nu log c - (t2 / c^2 + 2 t1 / c) / 2
        - (nu + 1) / 2 sum_k log(1 + df spread_k^2 P_kk(c))

with q2 the sum of squares of what the effect adds to the rows and q1 its product with what all the
others leave of them, both over sigma^2; t2 and t1 from tr(scale Psi^-1), and P = Psi^-1, whose
diagonal P_kk(c) = high_k / c^2 + 2 middle_k / c + low_k. The auxiliaries are integrated out.

Source: Yu and Meng (2011), doi:10.1198/jcgs.2011.203main; the move is one of a group of
transformations as in Liu and Sabatti (2000), doi:10.1093/biomet/87.2.353; drawn by the slice
sampler of Neal (2003), doi:10.1214/aos/1056562461, with stepping out.
"""

import numpy as np

from hlm_models.algebra.compiled import compiled
from hlm_models.gibbs.variances import inverse_factor

__all__ = ["interweave", "log_scaled", "scaling_work"]

STEPS = 50
"""Most steps of width 1 that a slice is widened by."""


@compiled(error_model="numpy")
def log_scaled(log_c, terms, units, u, curves):  # type: ignore[no-untyped-def]
    """The log density of log c, up to a constant; terms (4,) are q2, q1, t2, t1.

    curves (3, w) are high, middle and low.
    """
    c = np.exp(log_c)
    value = terms[1] * c - 0.5 * terms[0] * c * c - units.nu[u] * log_c
    value -= 0.5 * terms[2] / (c * c) + terms[3] / c
    if units.df[u] > 0.0:
        for k in range(units.size[u]):
            inverse = curves[0, k] / (c * c) + 2.0 * curves[1, k] / c + curves[2, k]
            inside = units.df[u] * units.spread[u, k] ** 2 * inverse
            value -= 0.5 * (units.nu[u] + 1.0) * np.log1p(inside)
    return value


@compiled(error_model="numpy")
def _slice(rng, terms, units, u, curves):  # type: ignore[no-untyped-def]
    """One draw of log c by a slice from log c = 0."""
    level = log_scaled(0.0, terms, units, u, curves) + np.log(1.0 - rng.random())
    lower = -rng.random()
    upper = lower + 1.0
    left = int(STEPS * rng.random())
    right = STEPS - 1 - left
    while left > 0 and log_scaled(lower, terms, units, u, curves) > level:
        lower -= 1.0
        left -= 1
    while right > 0 and log_scaled(upper, terms, units, u, curves) > level:
        upper += 1.0
        right -= 1
    while True:
        found = lower + (upper - lower) * rng.random()
        # At 0 the density is above the level, but for rounding; not a number ends it too.
        if not log_scaled(found, terms, units, u, curves) <= level or upper - lower < 1e-12:
            return found
        if found < 0.0:
            lower = found
        else:
            upper = found


@compiled()
def scaling_work(w):  # type: ignore[no-untyped-def]
    """Length of the scratch array of `interweave`."""
    return 3 * w * w


@compiled(error_model="numpy", no_cpython_wrapper=True)
def interweave(  # type: ignore[no-untyped-def] # noqa: PLR0912, PLR0915
    rng, units, R, back, scaled, inverse_variance, M, g, C, move, terms, curves, work
):
    """Move every effect once; C (Q, Q) becomes the factor of the new Psi.

    R, back (Q, Q) turn raw effects into scaled ones and again; scaled (U, w, w) holds the units'
    scale for scaled effects. M (Q, Q) and g (Q,) are the products of what each scaled effect adds
    to the rows, among each other and with y - X beta; both are changed along. Fills move (Q, Q),
    which takes raw effects to their new values, and for every effect (of a shared variance, the
    first) terms (Q, 4) and curves (Q, 3, w) of its law and log c in terms[:, 4].
    """
    w = scaled.shape[1]
    half = work[: w * w].reshape((w, w))
    P = work[w * w : 2 * w * w].reshape((w, w))
    AC = work[2 * w * w : 3 * w * w].reshape((w, w))
    Q = len(M)
    for u in range(len(units.first)):
        f, m = units.first[u], units.size[u]
        wide = units.width[u] - m + 1
        # P = back' Psi^-1 back, of the scaled effects.
        inverse_factor(C, f, m, half)
        for i in range(m):
            for j in range(m):
                total = half[i, j] if m == 1 else 0.0
                if m > 1:
                    for t in range(i + 1):
                        total += half[i, t] * back[f + t, f + j]
                AC[i, j] = total
        for i in range(m):
            for j in range(m):
                P[i, j] = 0.0
                for t in range(m):
                    P[i, j] += AC[t, i] * AC[t, j]
        for a in range(m):
            # The move is of the effects e to e + wide - 1.
            e = f + a
            for c in range(5):
                terms[e, c] = 0.0
            for i in range(e, e + wide):
                terms[e, 1] += g[i]
                for j in range(Q):
                    if e <= j < e + wide:
                        terms[e, 0] += M[i, j]
                    else:
                        terms[e, 1] -= M[i, j]
            terms[e, 0] *= inverse_variance
            terms[e, 1] *= inverse_variance
            terms[e, 2] = scaled[u, a, a] * P[a, a]
            for b in range(m):
                if b != a:
                    terms[e, 3] += scaled[u, a, b] * P[a, b]
            for k in range(m):
                own = R[e, f + k] if m > 1 else 1.0
                middle, low = 0.0, 0.0
                for b in range(m):
                    if b != a:
                        middle += own * P[a, b] * R[f + b, f + k]
                        for c in range(m):
                            if c != a:
                                low += R[f + b, f + k] * P[b, c] * R[f + c, f + k]
                curves[e, 0, k] = own * P[a, a] * own
                curves[e, 1, k] = middle
                curves[e, 2, k] = low
            log_c = _slice(rng, terms[e], units, u, curves[e])
            terms[e, 4] = log_c
            c = np.exp(log_c)
            for b in range(m):
                P[a, b] /= c
                P[b, a] /= c
            for i in range(e, e + wide):
                g[i] *= c
                for j in range(Q):
                    M[i, j] *= c
                    M[j, i] *= c
        # move = back diag(c) R, and the factor of move Psi move'.
        for i in range(units.width[u]):
            for j in range(units.width[u]):
                total = 0.0
                if wide > 1:
                    total = np.exp(terms[f, 4]) if i == j else 0.0
                else:
                    for t in range(m):
                        total += back[f + i, f + t] * np.exp(terms[f + t, 4]) * R[f + t, f + j]
                move[f + i, f + j] = total
        if wide > 1:
            for i in range(units.width[u]):
                C[f + i, f + i] *= move[f, f]
            continue
        for i in range(m):
            for j in range(m):
                AC[i, j] = 0.0
                for t in range(j, m):
                    AC[i, j] += move[f + i, f + t] * C[f + t, f + j]
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
