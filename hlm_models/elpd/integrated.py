"""The log likelihood of every draw with the random effects of all groups integrated out."""

import math
from typing import TYPE_CHECKING

import numpy as np

from hlm_models.algebra.correlation import correlation_root
from hlm_models.errors import FitError
from hlm_models.spec.model import ModelSpec
from hlm_models.target.conditional import cross_products
from hlm_models.target.draws import VarianceDraws
from hlm_models.types import FloatArray

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["integrated_log_likelihood"]


def integrated_log_likelihood(spec: ModelSpec, posterior: "Dataset") -> FloatArray:
    """Log p(y | beta, Psi, sigma) of every draw (chains, draws).

    With sigma^2 V the covariance of the weighted rows, S = W' V^-1 W of W = [X, y], and v the
    weights of W that make the residuals, it is
    -(n/2) log(2 pi sigma^2) + sum log w_i / 2 - log|V| / 2 - v' S v / (2 sigma^2).

    Raises
    ------
    FitError
        a covariance of crossed groups has no factor at some draw.
    """
    design = spec.design

    def values(name: str) -> FloatArray:
        return np.asarray(posterior[name].transpose("chain", "draw", ...).values)

    sigma = values("sigma")
    beta = values("beta") if design.p else np.zeros((*sigma.shape, 0))
    corr = tuple(values(f"corr_{block.group}") for block in spec.blocks)
    draws = VarianceDraws(
        sigma=sigma,
        sd=tuple(values(f"sd_{block.group}") for block in spec.blocks),
        corr=corr,
        factor=tuple(correlation_root(one) for one in corr),
        beta_free=np.zeros((*sigma.shape, 0)),
    )
    v = np.ones((*sigma.shape, design.p + 1))
    v[..., :-1] = design.y_fit - beta @ design.x_scaling.R.T
    found = np.empty(sigma.shape)
    for chain, out in enumerate(found):
        try:
            S, logdet = cross_products(spec, draws.at(chain))
        except np.linalg.LinAlgError as error:
            raise FitError(
                "the likelihood cannot be computed, as a matrix is not positive definite at some "
                "draw: effects vary very much more than the rows"
            ) from error
        out[:] = -logdet / 2 - np.einsum("di,dij,dj->d", v[chain], S, v[chain]) / (
            2 * sigma[chain] ** 2
        )
    constant = design.log_weights / 2 - design.n / 2 * math.log(2 * math.pi)
    return np.asarray(found + constant - design.n * np.log(sigma))
