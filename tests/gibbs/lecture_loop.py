"""The Gibbs samplers of a lecture, as straight loops over groups and rows: slow and plain.

Source: Peter Hoff's lecture "Bayesian inference for linear mixed models" (Duke STA 610), both of
its samplers; misprints of the slides mended: b and Z_j where b_j and X_j stand for others, and the
prior's V0^-1 beta0 in the mean of the fixed effects.
"""

from dataclasses import dataclass

import numpy as np


@dataclass
class Lecture:
    """y (n,), X (n, p), Z (n, q) and group codes (n,), with the lecture's hyperparameters.

    beta ~ N(beta0, V0), Psi^-1 ~ Wishart(eta0, Psi0^-1), 1 / sigma^2 ~ gamma(nu0 / 2, nu0 s20 / 2).
    """

    y: np.ndarray
    X: np.ndarray
    Z: np.ndarray
    groups: np.ndarray
    beta0: np.ndarray
    V0: np.ndarray
    eta0: float
    Psi0: np.ndarray
    nu0: float
    s20: float

    def start(self):
        """beta, sigma^2 and Psi^-1 to start from."""
        return self.beta0.copy(), self.s20, np.linalg.inv(self.Psi0)


def wishart(rng, df, scale):
    """One draw, by Bartlett's decomposition."""
    q = len(scale)
    A = np.tril(rng.standard_normal((q, q)), -1)
    A[np.diag_indices(q)] = np.sqrt(rng.chisquare(df - np.arange(q)))
    root = np.linalg.cholesky(scale) @ A
    return root @ root.T


def effects_sweep(rng, data, beta, s2, iPsi):
    """The lecture's second sampler: a_j given beta, and beta given all a_j."""
    m = data.groups.max() + 1
    q = data.Z.shape[1]
    A, sse = np.empty((m, q)), 0.0
    yt = data.y - data.X @ beta
    for j in range(m):
        ytj = yt[data.groups == j]
        Zj = data.Z[data.groups == j]
        Vaj = np.linalg.inv(iPsi + Zj.T @ Zj / s2)
        Eaj = Vaj @ Zj.T @ ytj / s2
        A[j] = Eaj + np.linalg.cholesky(Vaj) @ rng.standard_normal(q)
        sse += np.sum((ytj - Zj @ A[j]) ** 2)
    n = len(data.y)
    s2 = 1 / rng.gamma((data.nu0 + n) / 2, 2 / (data.nu0 * data.s20 + sse))
    iPsi = wishart(rng, data.eta0 + m, np.linalg.inv(data.Psi0 + A.T @ A))
    yt = data.y.copy()
    for j in range(m):
        ij = np.flatnonzero(data.groups == j)
        yt[ij] = data.y[ij] - data.Z[ij] @ A[j]
    iV0 = np.linalg.inv(data.V0)
    Vbeta = np.linalg.inv(iV0 + data.X.T @ data.X / s2)
    Ebeta = Vbeta @ (iV0 @ data.beta0 + data.X.T @ yt / s2)
    beta = Ebeta + np.linalg.cholesky(Vbeta) @ rng.standard_normal(len(beta))
    return beta, s2, iPsi


def coefficients_sweep(rng, data, beta, s2, iPsi):
    """The lecture's first sampler: b_j around beta; X is Z."""
    m, p = data.groups.max() + 1, len(beta)
    B, sse = np.empty((m, p)), 0.0
    for j in range(m):
        yj = data.y[data.groups == j]
        Xj = data.X[data.groups == j]
        Vbj = np.linalg.inv(iPsi + Xj.T @ Xj / s2)
        Ebj = Vbj @ (iPsi @ beta + Xj.T @ yj / s2)
        B[j] = Ebj + np.linalg.cholesky(Vbj) @ rng.standard_normal(p)
        sse += np.sum((yj - Xj @ B[j]) ** 2)
    n = len(data.y)
    s2 = 1 / rng.gamma((data.nu0 + n) / 2, 2 / (data.nu0 * data.s20 + sse))
    iV0 = np.linalg.inv(data.V0)
    Vbeta = np.linalg.inv(iV0 + m * iPsi)
    Ebeta = Vbeta @ (iV0 @ data.beta0 + m * iPsi @ B.mean(axis=0))
    beta = Ebeta + np.linalg.cholesky(Vbeta) @ rng.standard_normal(p)
    SSB = (B - beta).T @ (B - beta)
    iPsi = wishart(rng, data.eta0 + m, np.linalg.inv(data.Psi0 + SSB))
    return beta, s2, iPsi


def run(sweep, data, sweeps, rng):
    """beta (sweeps, p), sigma^2 (sweeps,) and Psi (sweeps, q, q)."""
    state = data.start()
    found = []
    for _ in range(sweeps):
        state = sweep(rng, data, *state)
        found.append((state[0], state[1], np.linalg.inv(state[2])))
    return tuple(np.array(column) for column in zip(*found, strict=True))
