"""The ML and REML criteria, profiled over the fixed effects and sigma, and the full deviance.

Where sigma is known, only the fixed effects are profiled out.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hlm_models.algebra.kernel import NoFactor, OneFactor
from hlm_models.types import FloatArray

if TYPE_CHECKING:
    from hlm_models.algebra.crossed import Sweep

__all__ = ["Profiled", "Swept", "full_deviance", "profiled"]

type Swept = NoFactor | OneFactor | Sweep
"""One pass at some Lambda, for any number of factors."""


@dataclass(frozen=True, slots=True)
class Profiled:
    """The criterion at one Lambda, with beta and sigma at their best given Lambda.

    value : () minus twice the (restricted) log likelihood
    beta : (p,) generalised least squares estimate
    sigma : () residual standard deviation, at its best or known
    factor : (p, p) lower Cholesky factor of S_xx; Var(beta) = sigma^2 S_xx^-1
    r2 : () penalised residual sum of squares
    M : for each factor (q, q), derivative of the value with respect to P = Lambda Lambda'
    """

    value: float
    beta: FloatArray
    sigma: float
    factor: FloatArray
    r2: float
    M: tuple[FloatArray, ...]


def profiled(found: Swept, n: int, *, reml: bool, sigma: float | None = None) -> Profiled:
    """Criterion and its derivative from one pass of the kernel; `sigma` is given where known.

    Source: Bates et al. (2015), doi:10.18637/jss.v067.i01, equations (35) for ML and (41) for REML.
    """
    p = len(found.S) - 1
    beta, factor, r2 = _least_squares(found.S)
    if sigma is not None:
        value, M, _ = _deviance(found, n, sigma, beta, factor, r2, reml=reml)
        return Profiled(value, beta, sigma, factor, r2, M)
    df = n - p if reml else n
    value = found.logdet + df * (1 + math.log(2 * math.pi * r2 / df)) if r2 > 0 else -math.inf
    v = np.append(-beta, 1.0)
    F = (df / r2) * np.outer(v, v) if r2 > 0 else np.full((p + 1, p + 1), math.inf)
    if reml and p:
        value += 2 * float(np.sum(np.log(np.diag(factor))))
        F[:p, :p] += _inverse(factor)
    M = found.derivative(1.0, F)
    return Profiled(value, beta, math.sqrt(max(r2, 0.0) / df), factor, r2, M)


def full_deviance(
    found: Swept, n: int, sigma: float, *, reml: bool
) -> tuple[float, tuple[FloatArray, ...], float]:
    """Minus twice the (restricted) log likelihood at a given sigma, beta profiled out.

    Returns the value, its derivatives with respect to each P = Lambda Lambda' at fixed sigma, and
    its derivative with respect to log sigma.
    """
    return _deviance(found, n, sigma, *_least_squares(found.S), reml=reml)


def _deviance(
    found: Swept,
    n: int,
    sigma: float,
    beta: FloatArray,
    factor: FloatArray,
    r2: float,
    *,
    reml: bool,
) -> tuple[float, tuple[FloatArray, ...], float]:
    p = len(beta)
    df = n - p if reml else n
    value = found.logdet + df * math.log(2 * math.pi * sigma**2) + r2 / sigma**2
    v = np.append(-beta, 1.0)
    F = np.outer(v, v) / sigma**2
    if reml and p:
        value += 2 * float(np.sum(np.log(np.diag(factor))))
        F[:p, :p] += _inverse(factor)
    return value, found.derivative(1.0, F), 2 * df - 2 * r2 / sigma**2


def _least_squares(S: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    """Beta = S_xx^-1 S_xy, the lower factor of S_xx, and r2 = S_yy - S_yx beta."""
    p = len(S) - 1
    factor = np.linalg.cholesky(S[:p, :p]) if p else np.zeros((0, 0))
    half = np.linalg.solve(factor, S[:p, p])
    beta = np.linalg.solve(factor.T, half)
    return beta, factor, float(S[p, p] - half @ half)


def _inverse(factor: FloatArray) -> FloatArray:
    half = np.linalg.solve(factor, np.eye(len(factor)))
    return half.T @ half
