"""The latent graph: all random effects are free variables, centred or non-centred."""

from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pymc.logprob.transforms import Transform

from hlm_models.design.build import RandomBlock
from hlm_models.parts.priors import Prior, pymc_vector
from hlm_models.spec.model import BlockPrior, ModelSpec, Parameterization
from hlm_models.types import FloatArray

__all__ = ["coords", "to_pymc"]


class Centred(Transform):  # type: ignore[misc]
    """Coefficients in the coordinates of the centred and scaled X: gamma = R beta.

    The prior stays on beta; only the sampler's coordinates change.
    """

    name = "centred"
    ndim_supp = 1

    def __init__(self, R: FloatArray) -> None:
        self.R = R
        self.back = np.linalg.inv(R)
        self.log_det = float(np.linalg.slogdet(self.back)[1])

    def forward(self, value: Any, *inputs: Any) -> Any:  # noqa: ARG002
        return pt.dot(self.R, value)

    def backward(self, value: Any, *inputs: Any) -> Any:  # noqa: ARG002
        return pt.dot(self.back, value)

    def log_jac_det(self, value: Any, *inputs: Any) -> Any:  # noqa: ARG002
        return pt.zeros(value.shape[:-1]) + self.log_det


def coords(spec: ModelSpec) -> dict[str, Any]:
    """Names along every dimension of the model and of its posterior."""
    found: dict[str, Any] = {"obs": np.arange(spec.design.n), "coef": list(spec.design.coef)}
    for block in spec.blocks:
        found[block.group] = list(block.labels)
        found[f"effect_{block.group}"] = list(block.effects)
        found[f"effect_{block.group}_2"] = list(block.effects)
    return found


def to_pymc(spec: ModelSpec, parameterization: Parameterization) -> pm.Model:
    """The model as a plain `pm.Model` with named dims and its data in `pm.Data`.

    The data are X, y, Z_g, level_g, and offset and weights where the model has them.

    Variables: beta(coef), sigma, and for each group g sd_g(effect_g), corr_g(effect_g, effect_g_2),
    b_g(g, effect_g). Correlations are built from canonical partial correlations `partial_g`, an sd
    that effects share is `shared_g`; non-centred effects are b_g = z_g diag(sd) L_corr'.
    """
    design = spec.design
    with pm.Model(coords=coords(spec)) as model:
        X = pm.Data("X", design.X, dims=("obs", "coef"))
        y = pm.Data("y", design.y, dims="obs")
        eta = pt.dot(X, _beta(spec)) if design.p else pt.zeros(design.n)
        if design.offset is not None:
            eta = eta + pm.Data("offset", design.offset, dims="obs")
        for block, prior in zip(spec.blocks, spec.priors.blocks, strict=True):
            z = pm.Data(f"Z_{block.group}", block.z, dims=("obs", f"effect_{block.group}"))
            level = pm.Data(f"level_{block.group}", block.level, dims="obs")
            b = _effects(block, prior, parameterization)
            eta = eta + pt.sum(z * b[level], axis=-1)
        sigma = spec.priors.sigma
        scale = type(sigma).pymc("sigma", sigma.numbers(), place="scale")
        scale = spec.residual.scale(scale)
        if design.weights is not None:
            scale = scale / pt.sqrt(pm.Data("weights", design.weights, dims="obs"))
        spec.family.pymc("y_obs", eta, scale, observed=y, dims="obs")
    return model


def _beta(spec: ModelSpec) -> Any:
    priors = spec.priors.beta
    keywords: dict[str, Any] = {}
    if len({type(prior) for prior in priors}) == 1 and _unbounded(priors[0]):
        keywords["default_transform"] = Centred(spec.design.x_scaling.R)
    return pymc_vector("beta", priors, place="location", dims="coef", **keywords)


def _unbounded(prior: Prior) -> bool:
    return "lower" not in prior.numbers()


def _effects(block: RandomBlock, prior: BlockPrior, parameterization: Parameterization) -> Any:
    """sd, corr and b of one block; returns b (J, q)."""
    g, q = block.group, block.q
    effect = f"effect_{g}"
    if len(prior.terms) == 1:
        sd, factor = prior.terms[0].pymc(g, effect)
    else:
        parts = [term.pymc(f"{g}_{i + 1}", None) for i, term in enumerate(prior.terms)]
        sd = pm.Deterministic(f"sd_{g}", pt.concatenate([part[0] for part in parts]), dims=effect)
        factor = pt.linalg.block_diag(*[part[1] for part in parts])
    corr = pt.dot(factor, factor.T) if q > 1 else pt.ones((1, 1))
    pm.Deterministic(f"corr_{g}", corr, dims=(effect, f"{effect}_2"))
    scaled = sd[:, None] * factor
    if parameterization == "centered":
        if q == 1:
            return pm.Normal(f"b_{g}", 0.0, sd[0], dims=(g, effect))
        return pm.MvNormal(f"b_{g}", mu=np.zeros(q), chol=scaled, dims=(g, effect))
    raw = pm.Normal(f"z_{g}", 0.0, 1.0, dims=(g, effect))
    return pm.Deterministic(f"b_{g}", pt.dot(raw, scaled.T), dims=(g, effect))
