"""Correlation matrices by their canonical partial correlations.

Source: Lewandowski, Kurowicka and Joe (2009), doi:10.1016/j.jmva.2009.04.008, section 2.4.
"""

import math
from typing import Any

import numpy as np

from hlm_models.types import FloatArray

__all__ = ["corr_factor", "lkj_constant", "lkj_shapes", "log_beta_corr", "log_det"]


def lkj_shapes(eta: float, q: int) -> FloatArray:
    """Both Beta parameters (q (q - 1) / 2,) of every partial correlation of LKJ, row by row.

    One with k variables partialled out has eta + (q - 2 - k) / 2.
    """
    columns = np.tril_indices(q, -1)[1]
    return np.asarray(eta + (q - 2 - columns) / 2)


def lkj_constant(eta: float, q: int) -> float:
    """Log of the integral of |corr|^(eta - 1) over the strict lower triangle: equation (16)."""
    total = 0.0
    for k in range(1, q):
        a = eta + (q - k - 1) / 2
        log_beta = 2 * math.lgamma(a) - math.lgamma(2 * a)
        total += (q - k) * ((2 * a - 1) * math.log(2) + log_beta)
    return total


def log_beta_corr(r: FloatArray, a: float) -> FloatArray:
    """Log density of a correlation that is 2 Beta(a, a) - 1."""
    log_beta = 2 * math.lgamma(a) - math.lgamma(2 * a)
    return (a - 1) * np.log1p(-(r**2)) - log_beta - (2 * a - 1) * math.log(2)


def log_det(corr: FloatArray) -> FloatArray:
    """Log determinants (...) of corr (..., q, q); `-inf` where it is not positive definite."""
    inside = np.linalg.eigvalsh(corr)[..., 0] > 0
    return np.where(inside, np.linalg.slogdet(corr)[1], -np.inf)


def corr_factor(partial: Any, q: int) -> Any:
    """The Cholesky factor (q, q), as a tensor, of the correlations with these partial ones."""
    import pytensor.tensor as pt

    factor = pt.zeros((q, q))
    factor = pt.set_subtensor(factor[0, 0], 1.0)
    for row in range(1, q):
        left: Any = 1.0
        for column in range(row):
            z = partial[row * (row - 1) // 2 + column]
            factor = pt.set_subtensor(factor[row, column], z * pt.sqrt(left))
            left = left * (1 - z**2)
        factor = pt.set_subtensor(factor[row, row], pt.sqrt(left))
    return factor
