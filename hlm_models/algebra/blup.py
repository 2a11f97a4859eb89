"""What a BLUP is: the conditional mean of a group's effects, in its closed forms.

y_j = X_j beta + Z_j b_j + e_j, b_j ~ N(0, Psi), e_j ~ N(0, sigma2 I), all but b_j given. With
G_j = Z_j'Z_j, r_j = y_j - X_j beta, h_j = Z_j'r_j and V_j = Z_j Psi Z_j' + sigma2 I,

    b_j = (G_j + sigma2 Psi^-1)^-1 h_j      penalised least squares, Psi invertible
        = Psi Z_j' V_j^-1 r_j               regression of b_j on y_j, any Psi
        = Psi s_j,  s_j = (sigma2 I + G_j Psi)^-1 h_j = Z_j' V_j^-1 r_j

and Var(b_j | y_j) = sigma2 (G_j + sigma2 Psi^-1)^-1. The last form takes Gram blocks only and any
Psi, singular or zero: `blup` is it. The other two are there to be held against it.
"""

import numpy as np

from hlm_models.types import FloatArray

__all__ = [
    "blup",
    "marginal_blup",
    "penalised_blup",
    "random_intercept",
    "scores",
    "shrinkage_factor",
    "shrinkage_weights",
]


def shrinkage_factor(
    n: FloatArray | float, variance: FloatArray | float, sigma2: float
) -> FloatArray:
    """Share n variance / (sigma2 + n variance) of a group's mean residual that its BLUP keeps.

    `variance` may be 0 (nothing is kept) or infinite (all of it: a fixed effect of each group).
    """
    with np.errstate(divide="ignore"):
        return np.asarray(n / (n + np.divide(sigma2, variance)))


def random_intercept(
    n: FloatArray, mean_residual: FloatArray, variance: float, sigma2: float
) -> FloatArray:
    """BLUPs (J,) of random intercepts from group sizes and group means of y - X beta."""
    return shrinkage_factor(n, variance, sigma2) * mean_residual


def scores(G: FloatArray, h: FloatArray, Psi: FloatArray, sigma2: float) -> FloatArray:
    """The s_j = Z_j' V_j^-1 r_j (J, q), equal to Psi^-1 b_j where Psi is invertible."""
    return np.asarray(np.linalg.solve(_inner(G, Psi, sigma2), h[..., None])[..., 0])


def blup(
    G: FloatArray, h: FloatArray, Psi: FloatArray, sigma2: float
) -> tuple[FloatArray, FloatArray]:
    """Conditional means (J, q) and conditional covariances (J, q, q) of the effects.

    Parameters
    ----------
    G : (J, q, q) Z_j'Z_j
    h : (J, q) Z_j'(y_j - X_j beta)
    Psi : (q, q) covariance of a group's effects, singular or not
    sigma2 : () residual variance, > 0
    """
    # (sigma2 I + Psi G)^-1 sigma2 Psi is the transpose of what multiplies h, up to rounding.
    cov = np.linalg.solve(np.swapaxes(_inner(G, Psi, sigma2), -1, -2), sigma2 * Psi)
    return scores(G, h, Psi, sigma2) @ Psi.T, (cov + np.swapaxes(cov, -1, -2)) / 2


def penalised_blup(G: FloatArray, h: FloatArray, Psi: FloatArray, sigma2: float) -> FloatArray:
    """BLUPs (J, q) as penalised least squares.

    Raises
    ------
    numpy.linalg.LinAlgError
        Psi is singular: take `blup`.
    """
    return np.asarray(np.linalg.solve(G + sigma2 * np.linalg.inv(Psi), h[..., None])[..., 0])


def marginal_blup(z: FloatArray, r: FloatArray, Psi: FloatArray, sigma2: float) -> FloatArray:
    """BLUP (q,) of one group from its rows z (n_j, q) and r (n_j,), by its n_j x n_j covariance."""
    V = z @ Psi @ z.T + sigma2 * np.eye(len(r))
    return np.asarray(Psi @ z.T @ np.linalg.solve(V, r))


def shrinkage_weights(G: FloatArray, Psi: FloatArray, sigma2: float) -> FloatArray:
    """Weights w_j = (G_j + sigma2 Psi^-1)^-1 G_j (J, q, q) of the groups' own least squares.

    Where all coefficients vary (Z = X), beta + b_j = w_j (OLS of group j) + (I - w_j) beta: a
    matrix-weighted average. Where G_j is singular any least-squares solution will do. Any Psi, and
    stacks of G and Psi that go together.
    """
    inner = np.swapaxes(_inner(G, Psi, sigma2), -1, -2)
    return np.asarray(np.linalg.solve(inner, Psi @ G))


def _inner(G: FloatArray, Psi: FloatArray, sigma2: float) -> FloatArray:
    """The matrices sigma2 I + G_j Psi (J, q, q), regular for any Psi >= 0."""
    return np.asarray(sigma2 * np.eye(Psi.shape[-1]) + G @ Psi)
