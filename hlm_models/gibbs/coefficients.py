"""Normal conditionals of coefficients, whatever they are regressed on."""

from typing import NamedTuple

import numpy as np

from hlm_models.algebra.compiled import compiled
from hlm_models.types import FloatArray, IntArray

__all__ = ["Regression", "draw_coefficients", "draw_weights", "regression_work"]


class Regression(NamedTuple):
    """Some coefficients, in a basis in which their columns are orthogonal.

    places (d,) : where they stand in beta
    Q (p, d), back (d, d) : their columns are X_s Q back^-1 in the scaled columns X_s of X
    """

    places: IntArray
    Q: FloatArray
    back: FloatArray


@compiled()
def regression_work(p, d):  # type: ignore[no-untyped-def]
    """Length of the scratch array of `draw_coefficients`."""
    return d * (d + p + 3)


@compiled(error_model="numpy", no_cpython_wrapper=True)
def draw_coefficients(  # type: ignore[no-untyped-def] # noqa: PLR0912
    rng, S, right, inverse_variance, regression, loc, precision, beta, mean, P, work
):
    """Draw the coefficients of `regression` in `beta` (p,), which holds their old values.

    S (p or more, same) are cross-products of the scaled columns and right (p,) theirs with the
    residuals at the old beta, both over the variance 1 / inverse_variance; loc, precision (p,) are
    of the normal prior, a flat one's precision 0. Fills the law's mean (d,) in raw columns, and its
    precision P (d, d) in the basis of Q. False where P is not positive definite.

    Source: Lindley and Smith (1972), doi:10.1111/j.2517-6161.1972.tb00885.x.
    """
    places, Q, back = regression
    p, d = Q.shape
    L = work[: d * d].reshape((d, d))
    SQ = work[d * d : d * (d + p)].reshape((p, d))
    h, mode, drawn = (
        work[d * (d + p) : d * (d + p + 1)],
        work[d * (d + p + 1) : d * (d + p + 2)],
        work[d * (d + p + 2) : d * (d + p + 3)],
    )
    for i in range(p):
        for c in range(d):
            total = 0.0
            for j in range(p):
                total += S[i, j] * Q[j, c]
            SQ[i, c] = total
    for c in range(d):
        for e in range(c + 1):
            total = 0.0
            for i in range(p):
                total += Q[i, c] * SQ[i, e]
            total *= inverse_variance
            for t in range(d):
                total += back[t, c] * precision[places[t]] * back[t, e]
            P[c, e] = P[e, c] = total
        total = 0.0
        for i in range(p):
            total += Q[i, c] * right[i]
        total *= inverse_variance
        for t in range(d):
            total += back[t, c] * precision[places[t]] * (loc[places[t]] - beta[places[t]])
        h[c] = total
    for c in range(d):
        for e in range(c + 1):
            total = P[c, e]
            for t in range(e):
                total -= L[c, t] * L[e, t]
            if c == e:
                if not total > 0.0:
                    return False
                L[c, c] = np.sqrt(total)
            else:
                L[c, e] = total / L[e, e]
        total = h[c]
        for t in range(c):
            total -= L[c, t] * h[t]
        h[c] = total / L[c, c]
        drawn[c] = h[c] + rng.standard_normal()
    for c in range(d - 1, -1, -1):
        mode[c], one = h[c], drawn[c]
        for t in range(c + 1, d):
            mode[c] -= L[t, c] * mode[t]
            one -= L[t, c] * drawn[t]
        mode[c] /= L[c, c]
        drawn[c] = one / L[c, c]
    for t in range(d):
        mean[t] = beta[places[t]]
        for c in range(d):
            mean[t] += back[t, c] * mode[c]
            beta[places[t]] += back[t, c] * drawn[c]
    return True


@compiled(error_model="numpy")
def draw_weights(rng, prior, beta, weights, precision, rate):  # type: ignore[no-untyped-def]
    """Draw the weights (p,) that make a Student t prior normal, and the precisions they give.

    prior = (loc, precision, df), each (p,), df 0 where the prior is normal or flat: with
    w ~ gamma(df / 2, df / 2) and beta ~ N(loc, 1 / (w precision)), w given beta is gamma((df +
    1) / 2, rate).
    """
    loc, base, df = prior
    for k in range(len(beta)):
        if df[k] > 0.0:
            rate[k] = (df[k] + base[k] * (beta[k] - loc[k]) ** 2) / 2.0
            weights[k] = rng.standard_gamma((df[k] + 1.0) / 2.0) / rate[k]
            precision[k] = base[k] * weights[k]
