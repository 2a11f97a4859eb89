"""Leave-one-out by importance weights 1 / p(y_i | draw), whose largest are smoothed.

The largest weights are replaced by the expected order statistics of a generalised Pareto
distribution that is fitted to them. Its shape k says how far the weights can be relied on.

Source: Vehtari, Simpson, Gelman, Yao and Gabry (2024), JMLR 25(72), for the weights, the number of
those that are smoothed, and the threshold of k; Zhang and Stephens (2009),
doi:10.1198/tech.2009.08017, for the fit; both as in R's package loo.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from hlm_models.algebra.compiled import compiled
from hlm_models.types import FloatArray

__all__ = ["LeaveOneOut", "good_k", "leave_one_out", "relative_efficiency", "smoothed_weights"]

FEWEST = 5
"""Of fewer large weights none is smoothed."""

TOGETHER = 32
"""Columns that are worked on together: they stay in the second cache."""


@dataclass(frozen=True, eq=False)
class LeaveOneOut:
    """Of every column (m,): log density without it and with it, and k of its weights.

    k is infinite where no distribution could be fitted: all large weights are the same, or too few,
    or a log likelihood is not finite.
    """

    elpd: FloatArray
    lpd: FloatArray
    pareto_k: FloatArray


def good_k(draws: int) -> float:
    """The k up to which so many draws make weights that can be relied on."""
    return min(1 - 1 / math.log10(draws), 0.7) if draws > 1 else -math.inf


def leave_one_out(values: FloatArray, *, r_eff: FloatArray | None = None) -> LeaveOneOut:
    """Leave-one-out of columns of log likelihoods (chains, draws, m).

    Parameters
    ----------
    r_eff : (m,) efficiency of the draws relative to independent ones, on which the number of
        weights that are smoothed depends; `relative_efficiency` where it is left out
    """
    found = np.empty((3, values.shape[2]))
    for here, some, _ in _columns(values, r_eff):
        found[:, here] = some
    return LeaveOneOut(*found)


def smoothed_weights(
    values: FloatArray, *, r_eff: FloatArray | None = None
) -> tuple[FloatArray, FloatArray]:
    """Weights (chains, draws, m), of which each column adds to 1, and k (m,).

    As those of `leave_one_out`, with the same parameters.
    """
    weights, k = np.empty(values.shape), np.empty(values.shape[2])
    for here, (_, _, k[here]), some in _columns(values, r_eff):
        normal = some / some.sum(axis=1, keepdims=True)
        weights[:, :, here] = np.moveaxis(normal.reshape(-1, *values.shape[:2]), 0, 2)
    return weights, k


def relative_efficiency(values: FloatArray) -> FloatArray:
    """Effective sample size of exp of the columns (m,), over the number of draws.

    Source: Vehtari, Gelman and Gabry (2017), doi:10.1007/s11222-016-9696-4, and `relative_eff` of
    R's package loo: Geyer's initial monotone sequence over all chains, which are not split.
    """
    columns = np.moveaxis(values, 2, 0)
    return np.asarray(
        _relative_efficiencies(np.exp(columns - columns.max(axis=(1, 2), keepdims=True)))
    )


def _columns(
    values: FloatArray, r_eff: FloatArray | None
) -> Iterator[tuple[slice, FloatArray, FloatArray]]:
    """Of some columns at a time: elpd, lpd and k (3, columns), and weights (columns, S)."""
    chains, draws, size = values.shape
    # Memory that is asked for again and again takes longer than what is done in it.
    room = np.empty((2, min(TOGETHER, size), chains * draws))
    for start in range(0, size, TOGETHER):
        here = slice(start, min(start + TOGETHER, size))
        rows, p = room[:, : here.stop - start]
        rows.reshape(-1, chains, draws)[:] = np.moveaxis(values[:, :, here], 2, 0)
        finite = np.isfinite(rows).all(axis=1)
        lost, rows[~finite] = rows[~finite], 0.0
        high = rows.max(axis=1, keepdims=True)
        np.exp(np.subtract(rows, high, out=p), out=p)
        lpd = np.log(np.mean(p, axis=1)) + high[:, 0]
        if r_eff is None:
            efficiency = _relative_efficiencies(p.reshape(len(rows), chains, draws))
        else:
            efficiency = r_eff[here]
        # From here on relative to the smallest: the largest weight is 1.
        low = rows.min(axis=1, keepdims=True)
        rows -= low
        weights = np.exp(np.negative(rows, out=p), out=p)
        k, density = _smooth(rows, weights, efficiency)
        elpd = low[:, 0] + density - np.log(weights.sum(axis=1))
        # A row that some draw deems impossible has no density without it, whatever the others say.
        elpd[~finite], lpd[~finite] = (
            lost.min(axis=1),
            logsumexp(lost, axis=1) - math.log(lost.shape[1]),
        )
        weights[~finite] = np.nan
        yield here, np.array([elpd, lpd, k]), weights


def _smooth(
    rows: FloatArray, weights: FloatArray, r_eff: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Smooth the largest `weights` (m, S), exp(-rows); k and log sum w exp(rows) (m,)."""
    m, S = rows.shape
    large = np.ceil(np.minimum(0.2 * S, 3 * np.sqrt(S / r_eff))).astype(np.int64)
    k, density = np.full(m, np.inf), np.full(m, np.log(S))
    most = int(large.max())
    if most < FEWEST:
        return k, density
    # Largest weights first, and the largest of those that stay as they are.
    places = np.argpartition(rows, most, axis=1)[:, : most + 1]
    order = np.argsort(np.take_along_axis(rows, places, axis=1), axis=1)
    places = np.take_along_axis(places, order, axis=1)
    tail, raw = (np.take_along_axis(part, places, axis=1) for part in (rows, weights))
    each = np.arange(m)
    cutoff = raw[each, large, None]
    differ = tail[each, large - 1] - tail[:, 0] >= np.finfo(np.float64).eps / 100
    found, sigma = _fitted_paretos(raw - cutoff, np.where(differ & (large >= FEWEST), large, 0))
    k[np.isfinite(found)] = found[np.isfinite(found)]
    level = (large[:, None] - np.arange(most + 1) - 0.5) / large[:, None]
    inside = (level > 0) & np.isfinite(k[:, None])
    level = np.where(inside, level, 0.5)
    k_, sigma = np.where(np.isfinite(k), k, 1.0)[:, None], sigma[:, None]
    smoothed = cutoff + sigma * np.expm1(-k_ * np.log1p(-level)) / k_
    smoothed = np.where(inside, np.minimum(smoothed, 1.0), raw)
    with np.errstate(divide="ignore"):
        terms = np.where(inside, np.log(smoothed) + tail, -np.inf)
    density = np.logaddexp(np.log(S - inside.sum(axis=1)), np.logaddexp.reduce(terms, axis=1))
    np.put_along_axis(weights, places, smoothed, axis=1)
    return k, density


@compiled(error_model="numpy")
def _fitted_paretos(x, sizes):  # type: ignore[no-untyped-def]
    """Shapes and scales (m,) of generalised Pareto distributions of the first of each of x (m, M).

    These descend. A shape is drawn towards 1/2 as by ten more observations, and infinite where
    nothing fits or there is nothing.
    """
    k, sigma = np.full(len(x), np.inf), np.ones(len(x))
    for i in range(len(x)):
        N = sizes[i]
        if N == 0 or x[i, N - int(N / 4 + 0.5)] <= 0:
            continue
        some, quartile = x[i, :N], x[i, N - int(N / 4 + 0.5)]
        M = 30 + int(np.sqrt(N))
        theta, fit = np.empty(M), np.empty(M)
        for j in range(M):
            theta[j] = 1 / some[0] + (1 - np.sqrt(M / (j + 0.5))) / (3 * quartile)
            one = _mean_log(-theta[j], some)
            fit[j] = N * (np.log(-theta[j] / one) - one - 1)
        weight = np.exp(fit - fit.max())
        mean = (theta * weight).sum() / weight.sum()
        one = _mean_log(-mean, some)
        if np.isfinite(one):
            k[i], sigma[i] = (N * one + 10 * 0.5) / (N + 10), -one / mean
    return k, sigma


@compiled(error_model="numpy", fastmath={"reassoc", "contract"})
def _mean_log(a, x):  # type: ignore[no-untyped-def]
    """The mean of log(1 + a x), x descending, a logarithm of as many factors as stay in range."""
    bound = abs(np.log1p(a * x[0]))
    step = int(max(1.0, min(600 / bound, len(x))))
    total = 0.0
    for start in range(0, len(x), step):
        product = 1.0
        for i in range(start, min(start + step, len(x))):
            product *= 1 + a * x[i]
        total += np.log(product)
    return total / len(x)


@compiled(error_model="numpy")
def _relative_efficiencies(values):  # type: ignore[no-untyped-def]
    """Effective sample sizes of values (m, chains, draws), over their number (m,)."""
    m, chains, N = values.shape
    found = np.ones(m)
    centred, means, rho = np.empty((chains, N)), np.empty(chains), np.empty(N + 2)
    for i in range(m):
        for chain in range(chains):
            means[chain] = values[i, chain].mean()
            centred[chain] = values[i, chain] - means[chain]
        within = _autocovariance(centred, 0) * N / (N - 1)
        total = within * (N - 1) / N
        if chains > 1:
            total += ((means - means.mean()) ** 2).sum() / (chains - 1)
        if not total > 0:
            continue
        # Autocorrelations by lag, as far as the sum of two of them is above 0.
        even, odd = 1.0, 1 - (within - _autocovariance(centred, 1)) / total
        rho[0], rho[1] = even, odd
        t = 0
        while t < N - 5 and even + odd > 0:
            t += 2
            even = 1 - (within - _autocovariance(centred, t)) / total
            odd = 1 - (within - _autocovariance(centred, t + 1)) / total
            rho[t], rho[t + 1] = (even, odd) if even + odd >= 0 else (0.0, 0.0)
        if even > 0:
            rho[t] = even
        for s in range(2, t - 1, 2):
            if rho[s] + rho[s + 1] > rho[s - 2] + rho[s - 1]:
                rho[s] = rho[s + 1] = (rho[s - 2] + rho[s - 1]) / 2
        tau = -1 + 2 * rho[:t].sum() + rho[t]
        found[i] = 1 / max(tau, 1 / np.log10(chains * N))
    return found


@compiled(fastmath={"reassoc", "contract"})
def _autocovariance(centred, lag):  # type: ignore[no-untyped-def]
    """Of centred values (chains, draws), the mean over the chains."""
    chains, N = centred.shape
    total = 0.0
    for chain in range(chains):
        for i in range(N - lag):
            total += centred[chain, i] * centred[chain, i + lag]
    return total / (chains * N)
