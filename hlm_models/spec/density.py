"""The joint log density in plain NumPy: slow, obvious, trusted.

Every graph, kernel and sampler is tested against this one function.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from hlm_models.spec.model import ModelSpec
from hlm_models.types import FloatArray

__all__ = ["Point", "joint_log_density", "linear_predictor", "log_likelihood", "residual_scale"]


@dataclass(frozen=True)
class Point:
    """Values of all unknowns; `sd`, `corr` and `b` hold one array for each block.

    beta (p,), sigma (), 1 where it is known, sd[g] (q,), corr[g] (q, q), b[g] (J, q).
    Of coefficients with a prior together, `shrinkage` has its hyperparameters by name.
    """

    beta: FloatArray
    sigma: float
    sd: tuple[FloatArray, ...]
    corr: tuple[FloatArray, ...]
    b: tuple[FloatArray, ...]
    shrinkage: Mapping[str, FloatArray] = field(default_factory=dict)


def joint_log_density(spec: ModelSpec, point: Point) -> float:
    """Log p(y, beta, sd, corr, sigma, b), normalised (improper priors count as density one).

    The density is with respect to beta, sd (one number where a term's effects share it), the
    strict lower triangle of each corr, sigma (unless it is known) and b, and the hyperparameters of
    a prior of coefficients together.
    """
    priors, total = spec.priors, 0.0
    if priors.sigma is not None:
        total += float(priors.sigma.log_density(np.asarray(point.sigma), place="scale"))
    for k, coefficient in priors.own:
        total += float(coefficient.log_density(point.beta[k], place="location"))
    if priors.shrinkage is not None:
        sigma = np.asarray(point.sigma)
        total += float(priors.shrinkage.log_density(point.beta, point.shrinkage, sigma))
    for block, prior, sd, corr, b in zip(
        spec.blocks, priors.blocks, point.sd, point.corr, point.b, strict=True
    ):
        for term, covariance in zip(block.terms, prior.terms, strict=True):
            here = term.columns
            total += float(covariance.log_density(sd[here], corr[here, here]))
        Psi = sd[:, None] * corr * sd
        sign, logdet = np.linalg.slogdet(Psi)
        if sign <= 0:
            return -np.inf
        quadratic = float(np.sum(b * np.linalg.solve(Psi, b.T).T))
        total += -0.5 * (b.size * np.log(2 * np.pi) + len(b) * logdet + quadratic)
    return total + float(np.sum(log_likelihood(spec, point)))


def log_likelihood(spec: ModelSpec, point: Point) -> FloatArray:
    """Log p(y_i | beta, b, sigma) of each row (n,)."""
    scale = residual_scale(spec, point.sigma)
    return spec.family.log_density(spec.design.y, linear_predictor(spec, point), scale)


def linear_predictor(spec: ModelSpec, point: Point) -> FloatArray:
    """X beta + Z b, and the offset where there is one (n,)."""
    eta = spec.design.X @ point.beta
    if spec.design.offset is not None:
        eta = eta + spec.design.offset
    for block, b in zip(spec.blocks, point.b, strict=True):
        eta = eta + np.einsum("nq,nq->n", block.z, b[block.level])
    return eta


def residual_scale(spec: ModelSpec, sigma: FloatArray | float) -> FloatArray | float:
    """Residual standard deviation of the rows: one number, or sigma / sqrt(w_i) of each (n,).

    For many sigma (draws, 1) it is (draws, 1) or (draws, n).
    """
    scale: FloatArray | float = spec.residual.scale(sigma)
    roots = spec.design.root_weights
    return scale if roots is None else scale / roots
