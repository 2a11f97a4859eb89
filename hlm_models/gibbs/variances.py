"""Inverse gamma and inverse Wishart conditionals of the variances, and of what mixes them."""

from typing import NamedTuple

import numpy as np

from hlm_models.algebra.compiled import compiled
from hlm_models.types import FloatArray, IntArray

__all__ = ["Units", "draw_auxiliaries", "draw_sigma", "draw_units", "inverse_factor"]


class Units(NamedTuple):
    """The free variances: covariances of correlated effects, single variances, shared ones.

    The effects of all groups are counted through. Unit u is about `width` effects from `first` on,
    its Psi is (size, size), and its prior is that of `hlm_models.parts.priors.VarianceForm`;
    `seen` is how many draws of the normal law with this covariance the effects are.

    first, width, size (U,); seen, nu, df (U,); scale (U, w, w), spread and rates = df spread^2 (U,
    w)
    """

    first: IntArray
    width: IntArray
    size: IntArray
    seen: FloatArray
    nu: FloatArray
    df: FloatArray
    scale: FloatArray
    spread: FloatArray
    rates: FloatArray


@compiled(error_model="numpy", no_cpython_wrapper=True)
def draw_units(rng, units, B, C, a, scale, work):  # type: ignore[no-untyped-def] # noqa: PLR0912
    """Draw every unit's Psi given the effects, as its Cholesky factor in C (Q, Q).

    B (Q, Q) has the sums of b b' of all effects, a (U, w) the auxiliaries. Fills the laws' scale
    (U, w, w): Psi is inverse Wishart(nu + seen, scale). False where a scale is not positive
    definite. work (2 w^2,).

    With scale = L L' and U upper triangular, its squared diagonal chi-squared with nu - (m - 1 -
    i) degrees of freedom and the rest standard normal, L U^-T is the Cholesky factor of Psi.
    Source: Smith and Hocking (1972), doi:10.2307/2346290, with rows and columns in reverse.
    """
    w = scale.shape[1]
    L = work[: w * w].reshape((w, w))
    U = work[w * w : 2 * w * w].reshape((w, w))
    for u in range(len(units.first)):
        f, m = units.first[u], units.size[u]
        nu = units.nu[u] + units.seen[u]
        for i in range(m):
            for j in range(i + 1):
                total = units.scale[u, i, j]
                if i == j and units.df[u] > 0.0:
                    total += 2.0 * units.df[u] / a[u, i]
                # Effects that share one variance: the sums of all of them.
                for t in range(units.width[u] - m + 1):
                    total += B[f + i + t, f + j + t]
                scale[u, i, j] = scale[u, j, i] = total
                for t in range(j):
                    total -= L[i, t] * L[j, t]
                if i == j:
                    if not total > 0.0:
                        return False
                    L[i, i] = np.sqrt(total)
                else:
                    L[i, j] = total / L[j, j]
        for i in range(m):
            U[i, i] = np.sqrt(2.0 * rng.standard_gamma((nu - (m - 1 - i)) / 2.0))
            for j in range(i + 1, m):
                U[i, j] = rng.standard_normal()
        for i in range(m):
            for j in range(i, -1, -1):
                total = L[i, j]
                for t in range(j + 1, i + 1):
                    total -= C[f + i, f + t] * U[j, t]
                C[f + i, f + j] = total / U[j, j]
        for t in range(m, units.width[u]):
            C[f + t, f + t] = C[f, f]
    return True


@compiled(error_model="numpy")
def inverse_factor(C, f, m, out):  # type: ignore[no-untyped-def]
    """Fill the lower triangle of out with the inverse of C's (m, m) block at f."""
    for i in range(m):
        for j in range(i + 1):
            total = 1.0 if i == j else 0.0
            for t in range(j, i):
                total -= C[f + i, f + t] * out[t, j]
            out[i, j] = total / C[f + i, f + i]


@compiled(error_model="numpy", no_cpython_wrapper=True)
def draw_auxiliaries(rng, units, C, a, rate, work):  # type: ignore[no-untyped-def]
    """Draw a (U, w) given every Psi: inverse gamma((nu + 1) / 2, rate).

    Source: Huang and Wand (2013), doi:10.1214/13-BA815; Wand et al. (2011), doi:10.1214/11-BA631.
    """
    w = rate.shape[1]
    half = work[: w * w].reshape((w, w))
    for u in range(len(units.first)):
        if units.df[u] > 0.0:
            m = units.size[u]
            inverse_factor(C, units.first[u], m, half)
            for k in range(m):
                total = 0.0
                for i in range(k, m):
                    total += half[i, k] ** 2
                rate[u, k] = units.df[u] * total + 1.0 / units.spread[u, k] ** 2
                a[u, k] = rate[u, k] / rng.standard_gamma((units.nu[u] + 1.0) / 2.0)


@compiled(error_model="numpy")
def draw_sigma(rng, prior, n, sse, sigma, law):  # type: ignore[no-untyped-def]
    """Draw sigma = (sigma, its auxiliary) given the residual sum of squares of n rows.

    prior = (nu, scale, df, spread). Fills law (2,): sigma^2 is inverse gamma((nu + n) / 2, law[0])
    and its auxiliary inverse gamma((nu + 1) / 2, law[1]). False where law[0] is not above 0.
    """
    nu, scale, df, spread = prior
    law[0] = (scale + sse) / 2.0
    if df > 0.0:
        law[0] += df / sigma[1]
    if not law[0] > 0.0:
        return False
    variance = law[0] / rng.standard_gamma((nu + n) / 2.0)
    sigma[0] = np.sqrt(variance)
    if df > 0.0:
        law[1] = df / variance + 1.0 / spread**2
        sigma[1] = law[1] / rng.standard_gamma((nu + 1.0) / 2.0)
    return True
