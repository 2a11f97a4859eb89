"""The slow obvious twin: y is normal with one n x n covariance, b and the conjugate beta in it.

For tests of everything that integrates them out faster.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve, cholesky

__all__ = ["DenseMarginal", "dense_marginal"]


@dataclass(frozen=True)
class DenseMarginal:
    """Log p(y | sd, corr, sigma, beta_free), and its derivatives; no prior of these is in it.

    sd[f] (q,), and where effects share one sd each still counts by itself; factor[f] (q, q) by the
    elements of L_corr, corr = L_corr L_corr'; corr[f] (q, q) by those below the diagonal of corr,
    each moved together with its mirror image; log_sigma (); beta_free (f,).
    """

    value: float
    sd: tuple[np.ndarray, ...]
    factor: tuple[np.ndarray, ...]
    corr: tuple[np.ndarray, ...]
    log_sigma: float
    beta_free: np.ndarray


def dense_marginal(spec, sd, factor, sigma, beta_free=()):
    """The density at sd[f] (q,) and factor[f] (q, q), L_corr, of every block in raw columns.

    Coefficients with a normal prior are integrated as part of the covariance, flat ones by their
    generalised least squares (an improper prior counts as density one); `beta_free` are all
    others, in the order of beta.
    """
    design = spec.design
    kinds = np.array([prior.kind for prior in spec.priors.beta], dtype=object)
    X = design.X
    normal, flat = X[:, kinds == "normal"], X[:, kinds == "flat"]
    free = X[:, (kinds != "normal") & (kinds != "flat")]
    known = [prior for prior in spec.priors.beta if prior.kind == "normal"]
    loc = np.array([prior.loc for prior in known])
    scale = np.array([prior.scale for prior in known])

    residual = sigma**2 / (np.ones(design.n) if design.weights is None else design.weights)
    V = np.diag(residual)
    whole = []
    for block, one, L in zip(spec.blocks, sd, factor, strict=True):
        Z = np.zeros((design.n, block.J, block.q))
        Z[np.arange(design.n), block.level] = block.z
        whole.append(Z)
        half = Z @ (np.asarray(one)[:, None] * L)
        V += np.einsum("njq,mjq->nm", half, half, optimize=True)
    spread = normal * scale
    V += spread @ spread.T
    r = design.y - normal @ loc - free @ np.asarray(beta_free, dtype=float)
    if design.offset is not None:
        r = r - design.offset

    C = cholesky(V, lower=True)
    inverse = cho_solve((C, True), np.eye(design.n))
    value = -(design.n - flat.shape[1]) / 2 * np.log(2 * np.pi) - np.sum(np.log(np.diag(C)))
    P = inverse
    if flat.shape[1]:
        F = inverse @ flat
        information = flat.T @ F
        value -= np.linalg.slogdet(information)[1] / 2
        P = inverse - F @ np.linalg.solve(information, F.T)
    Pr = P @ r
    value -= r @ Pr / 2
    # d value = tr(M dV).
    M = (np.outer(Pr, Pr) - P) / 2

    by_sd, by_factor, by_corr = [], [], []
    for Z, one, L in zip(whole, sd, factor, strict=True):
        G = np.einsum("njq,njr->qr", Z, np.einsum("nm,mjr->njr", M, Z, optimize=True))
        by_half = 2 * G @ (np.asarray(one)[:, None] * L)
        by_sd.append(np.sum(by_half * L, axis=1))
        by_factor.append(np.asarray(one)[:, None] * by_half)
        by_corr.append(np.tril(2 * G * np.outer(one, one), -1))
    return DenseMarginal(
        value=float(value),
        sd=tuple(by_sd),
        factor=tuple(by_factor),
        corr=tuple(by_corr),
        log_sigma=float(2 * np.diag(M) @ residual),
        beta_free=free.T @ Pr,
    )
