"""The likelihood of the variance parameters, b and the conjugate coefficients integrated out.

All functions are compiled, hold no Python objects and raise nothing: a factorisation that fails
gives -inf and a gradient of zeros. Both kernels, `one_factor_density` here and
`hlm_models.algebra.crossed_pass.several_factors_density`, have one signature:

    (lam, log_sigma, m, blocks, gaussian, gradient, work) -> value

lam holds Lambda_f (q_f, q_f) of every factor in scaled columns, row by row; m (p,) is the mean of
y - y_s in scaled columns of X that the free coefficients leave; `blocks` the cross-products as a
tuple of arrays; `gaussian` what `hlm_models.spec.integration` gives; `gradient`
(sum q_f^2 + 1 + p,) is filled with the derivatives by lam, log sigma and m; `work` is scratch, so
that nothing is allocated. Formulas: docs/marginal.md.
"""

import numpy as np

from hlm_models.algebra.compiled import compiled
from hlm_models.algebra.kernel import add_levels, work_size

__all__ = ["coefficients_work", "integrate", "one_factor_density", "one_factor_work"]


@compiled()
def coefficients_work(p, d):  # type: ignore[no-untyped-def]
    """Length of the scratch array of `integrate`: p columns of X, d coefficients integrated."""
    return 4 * d * d + 2 * d * p + 5 * d + 4 * p + 1


@compiled()
def one_factor_work(q, k, d):  # type: ignore[no-untyped-def]
    """Length of the scratch array of `one_factor_density`."""
    qk = q * k
    return 2 * k * k + 2 * q * q + qk * qk + work_size(q, k) + coefficients_work(k - 1, d)


@compiled(error_model="numpy")
def integrate(logdet, S, log_sigma, m, gaussian, F, slopes, work):  # type: ignore[no-untyped-def] # noqa: PLR0912, PLR0915
    """The log density from (logdet, S); fills F (k, k) = d/dS and slopes (1 + p,).

    `slopes` are the derivatives by log sigma, at fixed S and logdet, and by m. Of
    gaussian = (Q, loc, precision, constants), Q (p, d) spans the columns of the integrated
    coefficients, loc (d,) and precision (d, d) are of their prior in that basis before Q' m is
    taken off, and constants are the additive constant and n.

    Source: Lindley and Smith (1972), doi:10.1111/j.2517-6161.1972.tb00885.x.
    """
    Q, loc, precision, constants = gaussian
    p, d = Q.shape
    inverse_variance = np.exp(-2.0 * log_sigma)
    at = 0
    P = work[at : at + d * d].reshape((d, d))
    at += d * d
    L = work[at : at + d * d].reshape((d, d))
    at += d * d
    inverse = work[at : at + d * d].reshape((d, d))
    at += d * d
    s = work[at : at + d * d].reshape((d, d))
    at += d * d
    SQ = work[at : at + d * p].reshape((p, d))
    at += d * p
    QP = work[at : at + d * p].reshape((p, d))
    at += d * p
    mu, h, gamma, half, gap = (
        work[at : at + d],
        work[at + d : at + 2 * d],
        work[at + 2 * d : at + 3 * d],
        work[at + 3 * d : at + 4 * d],
        work[at + 4 * d : at + 5 * d],
    )
    at += 5 * d
    u, v, Sv, Su = (
        work[at : at + p],
        work[at + p : at + 2 * p + 1],
        work[at + 2 * p + 1 : at + 3 * p + 1],
        work[at + 3 * p + 1 : at + 4 * p + 1],
    )
    # u = (I - Q Q') m, mu = loc - Q' m.
    for c in range(d):
        total = 0.0
        for i in range(p):
            total += Q[i, c] * m[i]
        mu[c] = loc[c] - total
        half[c] = total
    for i in range(p):
        total = m[i]
        for c in range(d):
            total -= Q[i, c] * half[c]
        u[i] = total
    s_rr = S[p, p]
    for i in range(p):
        total = 0.0
        for j in range(p):
            total += S[i, j] * u[j]
        Su[i] = total + S[i, p]
        s_rr += u[i] * (total + 2.0 * S[i, p])
    for i in range(p):
        for c in range(d):
            total = 0.0
            for j in range(p):
                total += S[i, j] * Q[j, c]
            SQ[i, c] = total
    quadratic = s_rr * inverse_variance
    for c in range(d):
        for e in range(d):
            total = 0.0
            for i in range(p):
                total += Q[i, c] * SQ[i, e]
            s[c, e] = total
            P[c, e] = total * inverse_variance + precision[c, e]
        total = 0.0
        for i in range(p):
            total += Q[i, c] * Su[i]
        h[c] = total * inverse_variance
        for e in range(d):
            h[c] += precision[c, e] * mu[e]
            quadratic += mu[c] * precision[c, e] * mu[e]
    logdet_P = 0.0
    for c in range(d):
        for e in range(c + 1):
            total = P[c, e]
            for t in range(e):
                total -= L[c, t] * L[e, t]
            if c == e:
                if not total > 0.0:
                    return -np.inf
                L[c, c] = np.sqrt(total)
            else:
                L[c, e] = total / L[e, e]
        logdet_P += 2.0 * np.log(L[c, c])
        total = h[c]
        for t in range(c):
            total -= L[c, t] * half[t]
        half[c] = total / L[c, c]
        quadratic -= half[c] * half[c]
    # gamma = P^-1 h, and P^-1 column by column.
    for c in range(d - 1, -1, -1):
        total = half[c]
        for t in range(c + 1, d):
            total -= L[t, c] * gamma[t]
        gamma[c] = total / L[c, c]
    for e in range(d):
        for c in range(d):
            total = 1.0 if c == e else 0.0
            for t in range(c):
                total -= L[c, t] * half[t]
            half[c] = total / L[c, c]
        for c in range(d - 1, -1, -1):
            total = half[c]
            for t in range(c + 1, d):
                total -= L[t, c] * inverse[t, e]
            inverse[c, e] = total / L[c, c]
    n = constants[1]
    value = constants[0] - n * log_sigma - 0.5 * (logdet + logdet_P + quadratic)
    if not np.isfinite(value):
        return -np.inf
    for i in range(p):
        total = u[i]
        for c in range(d):
            total -= Q[i, c] * gamma[c]
        v[i] = total
    v[p] = 1.0
    slope = -n
    for c in range(d):
        for e in range(d):
            slope += inverse[c, e] * s[e, c] * inverse_variance
    for i in range(p):
        Sv[i] = S[i, p]
        for j in range(p):
            Sv[i] += S[i, j] * v[j]
        slope += v[i] * (Sv[i] + S[i, p]) * inverse_variance
    slope += S[p, p] * inverse_variance
    slopes[0] = slope
    for i in range(p):
        for c in range(d):
            total = 0.0
            for e in range(d):
                total += Q[i, e] * inverse[e, c]
            QP[i, c] = total
    for i in range(p + 1):
        for j in range(p + 1):
            F[i, j] = v[i] * v[j]
    for i in range(p):
        for j in range(p):
            for c in range(d):
                F[i, j] += QP[i, c] * Q[j, c]
    for i in range(p + 1):
        for j in range(p + 1):
            F[i, j] *= -0.5 * inverse_variance
    for c in range(d):
        total = 0.0
        for i in range(p):
            total += Q[i, c] * Sv[i]
        gap[c] = total * inverse_variance
        for e in range(d):
            gap[c] += precision[c, e] * (mu[e] - gamma[e])
    for i in range(p):
        total = -Sv[i] * inverse_variance
        for c in range(d):
            total += Q[i, c] * gap[c]
        slopes[1 + i] = total
    return value


@compiled(error_model="numpy")
def one_factor_density(lam, log_sigma, m, blocks, gaussian, gradient, work):  # type: ignore[no-untyped-def]
    """The log density and its gradient for one factor; blocks = (G, H, T)."""
    G, H, T = blocks
    q, k, _ = H.shape
    qk = q * k
    Lambda = lam.reshape((q, q))
    at = 0
    S = work[at : at + k * k].reshape((k, k))
    at += k * k
    F = work[at : at + k * k].reshape((k, k))
    at += k * k
    N = work[at : at + q * q].reshape((q, q))
    at += q * q
    M = work[at : at + q * q].reshape((q, q))
    at += q * q
    D = work[at : at + qk * qk].reshape((qk, qk))
    at += qk * qk
    work[: k * k] = 0.0
    N[:] = 0.0
    D[:] = 0.0
    gradient[:] = 0.0
    rest = work[at + work_size(q, k) :]
    logdet = add_levels(Lambda, G, H, S, N, D, True, work[at : at + work_size(q, k)])
    for i in range(k):
        for j in range(i + 1):
            S[i, j] = S[j, i] = T[i, j] - S[i, j]
    value = integrate(logdet, S, log_sigma, m, gaussian, F, gradient[q * q :], rest)
    if value == -np.inf:
        gradient[:] = 0.0
        return value
    for a in range(q):
        for b in range(a + 1):
            total = -0.5 * N[a, b]
            for c in range(k):
                for e in range(k):
                    row, column = a * k + c, b * k + e
                    if row < column:
                        row, column = column, row
                    total -= D[row, column] * F[c, e]
            M[a, b] = M[b, a] = total
    for a in range(q):
        for c in range(q):
            total = 0.0
            for b in range(q):
                total += M[a, b] * Lambda[b, c]
            gradient[a * q + c] = 2.0 * total
    return value
