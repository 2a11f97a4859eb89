"""Derivatives of BLUPs, fitted values, the squared loss and the criterion with respect to Psi.

In the notation of `hlm_models.algebra.blup`, with beta and sigma held, w_j the shrinkage weights,

    db_j = (G_j + sigma2 Psi^-1)^-1 sigma2 Psi^-1 dPsi Psi^-1 b_j = (I - w_j) dPsi s_j

for any Psi in the last form. The residuals e_j = r_j - Z_j b_j have Z_j'e_j = sigma2 s_j, so the
squared loss L = sum |e_j|^2 has dL = -2 sigma2 sum s_j'(I - w_j) dPsi s_j: the Gram blocks are
enough.

A gradient with respect to the symmetric Psi is the symmetric matrix M with df = tr(M dPsi).
"""

from collections.abc import Sequence

import numpy as np

from hlm_models.algebra.blup import scores, shrinkage_weights
from hlm_models.types import FloatArray, IntArray

__all__ = [
    "blup_derivative",
    "blup_jacobian",
    "deviance_gradient",
    "fitted_derivative",
    "shrinkage_factor_derivative",
    "squared_loss_gradient",
]


def shrinkage_factor_derivative(
    n: FloatArray | float, variance: FloatArray | float, sigma2: float
) -> FloatArray:
    """Derivative n sigma2 / (sigma2 + n variance)^2 of the factor with respect to the variance."""
    return np.asarray(n * sigma2 / np.square(sigma2 + n * np.asarray(variance)))


def blup_derivative(
    G: FloatArray, h: FloatArray, Psi: FloatArray, sigma2: float, dPsi: FloatArray
) -> FloatArray:
    """Change db (J, q) of the BLUPs with Psi moving along dPsi (q, q).

    G (J, q, q), h (J, q) and sigma2 as `blup` takes them.
    """
    rest = np.eye(len(Psi)) - shrinkage_weights(G, Psi, sigma2)
    return np.asarray(np.einsum("jca,ab,jb->jc", rest, dPsi, scores(G, h, Psi, sigma2)))


def blup_jacobian(G: FloatArray, h: FloatArray, Psi: FloatArray, sigma2: float) -> FloatArray:
    """Derivatives (J, q, q, q) of b_j[c] with respect to Psi[a, b], at [j, c, a, b].

    Psi[a, b] and Psi[b, a] count as two variables: a symmetric change takes the sum of both.
    """
    rest = np.eye(len(Psi)) - shrinkage_weights(G, Psi, sigma2)
    return np.asarray(np.einsum("jca,jb->jcab", rest, scores(G, h, Psi, sigma2)))


def fitted_derivative(z: FloatArray, level: IntArray, db: FloatArray) -> FloatArray:
    """Changes of the fitted values Z b, (n, ...), from changes db (J, q, ...) of the effects."""
    return np.asarray(np.einsum("nc,nc...->n...", z, db[level]))


def squared_loss_gradient(
    G: FloatArray, h: FloatArray, Psi: FloatArray, sigma2: float
) -> FloatArray:
    """Gradient (q, q) of sum |y - X beta - Z b|^2, b the BLUPs, with respect to Psi.

    Along Psi itself the loss never rises: on the data that made the BLUPs, less shrinkage always
    fits better, so this loss is no criterion to choose Psi by.
    """
    rest = np.eye(len(Psi)) - shrinkage_weights(G, Psi, sigma2)
    s = scores(G, h, Psi, sigma2)
    half = np.einsum("jca,jc,jb->ab", rest, s, s)
    return np.asarray(-sigma2 * (half + half.T))


def deviance_gradient(
    factors: Sequence[FloatArray], sigma: float, M: Sequence[FloatArray], slope: float
) -> tuple[tuple[FloatArray, ...], float]:
    """Gradient of minus twice the (restricted) log likelihood in every Psi and sigma.

    `M` and `slope` are what `hlm_models.algebra.criterion.full_deviance` returns at the factors
    Lambda with Psi = sigma^2 Lambda Lambda': derivatives with respect to each Lambda Lambda', and
    to log sigma at fixed Lambda. Returned are the gradients (q, q) with respect to each Psi, and
    the derivative with respect to sigma at fixed Psi.
    """
    # At a fixed Psi, Lambda Lambda' = Psi / sigma^2 moves by -2 Lambda Lambda' d log(sigma).
    moved = sum(float(np.sum(m * (L @ L.T))) for m, L in zip(M, factors, strict=True))
    return tuple(m / sigma**2 for m in M), (slope - 2 * moved) / sigma
