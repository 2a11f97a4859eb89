"""The latent graph: all random effects are free variables, centred or non-centred."""

from typing import Any, Literal

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from hlm_models.design.build import RandomBlock
from hlm_models.graph.parameters import all_coefficients, coords, covariance, residual_sd
from hlm_models.spec.model import ModelSpec
from hlm_models.spec.priors import BlockPrior
from hlm_models.types import FloatArray

__all__ = ["to_pymc_latent"]


def to_pymc_latent(
    spec: ModelSpec, parameterization: Literal["centered", "noncentered"]
) -> pm.Model:
    """The model as a plain `pm.Model` with named dims and its data in `pm.Data`.

    The data are X, y, Z_g, level_g, and offset and weights where the model has them.

    Variables: beta(coef), sigma, and for each group g sd_g(effect_g), corr_g(effect_g, effect_g_2),
    b_g(g, effect_g). Correlations are built from canonical partial correlations `partial_g`, an sd
    that effects share is `shared_g`; non-centred effects are b_g = z_g diag(sd) L_corr'. Centred
    intercepts of the group with most levels are c_g, what the rows of each level have on average:
    b_g = c_g less the mean of X beta in the level.

    Source: Gelfand, Sahu and Carlin (1995), doi:10.1093/biomet/82.3.479, for the centring.
    """
    design = spec.design
    with pm.Model(coords={"obs": np.arange(design.n)} | coords(spec)) as model:
        X = pm.Data("X", design.X, dims=("obs", "coef"))
        y = pm.Data("y", design.y, dims="obs")
        sigma = residual_sd(spec)
        eta, beta = pt.zeros(design.n), None
        if design.p:
            beta = all_coefficients(spec, sigma)
            eta = pt.dot(X, beta)
        if design.offset is not None:
            eta = eta + pm.Data("offset", design.offset, dims="obs")
        for block, prior in zip(spec.blocks, spec.priors.blocks, strict=True):
            z = pm.Data(f"Z_{block.group}", block.z, dims=("obs", f"effect_{block.group}"))
            level = pm.Data(f"level_{block.group}", block.level, dims="obs")
            around = None
            if beta is not None and block is spec.blocks[0] and block.effects == ("Intercept",):
                around = pt.dot(_level_means(design.X, block), beta)
            b = _effects(block, prior, around, centred=parameterization == "centered")
            eta = eta + pt.sum(z * b[level], axis=-1)
        scale = spec.residual.scale(sigma)
        if design.weights is not None:
            scale = scale / pt.sqrt(pm.Data("weights", design.weights, dims="obs"))
        spec.family.pymc("y_obs", eta, scale, observed=y, dims="obs")
    return model


def _level_means(X: FloatArray, block: RandomBlock) -> FloatArray:
    """Means (J, p) of the columns of X over the rows of each level; zeros where it has none."""
    sums = np.column_stack([np.bincount(block.level, column, block.J) for column in X.T])
    return np.asarray(sums / np.maximum(block.sizes, 1)[:, None])


def _effects(block: RandomBlock, prior: BlockPrior, around: Any | None, *, centred: bool) -> Any:
    """Effects b (J, q) of one block; centred, they move as b + around (J,) where that is given."""
    dims = (block.group, f"effect_{block.group}")
    sd, factor = covariance(block, prior)
    if centred and around is not None:
        c = pm.Normal(f"c_{block.group}", around[:, None], sd[0], dims=dims)
        return pm.Deterministic(f"b_{block.group}", c - around[:, None], dims=dims)
    if centred and block.q == 1:
        return pm.Normal(f"b_{block.group}", 0.0, sd[0], dims=dims)
    scaled = sd[:, None] * factor
    if centred:
        return pm.MvNormal(f"b_{block.group}", mu=np.zeros(block.q), chol=scaled, dims=dims)
    raw = pm.Normal(f"z_{block.group}", 0.0, 1.0, dims=dims)
    return pm.Deterministic(f"b_{block.group}", pt.dot(raw, scaled.T), dims=dims)
