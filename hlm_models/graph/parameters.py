"""What both graphs begin with: sigma, and the standard deviations and correlations of a block."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pymc.logprob.transforms import Transform

from hlm_models.design.build import RandomBlock
from hlm_models.parts.priors import Prior, pymc_vector
from hlm_models.spec.model import ModelSpec
from hlm_models.spec.priors import BlockPrior
from hlm_models.types import FloatArray

__all__ = ["coefficients", "coords", "covariance", "residual_sd"]


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
    """Names along the dimensions of the parameters."""
    found: dict[str, Any] = {"coef": list(spec.design.coef)}
    for block in spec.blocks:
        found[block.group] = list(block.labels)
        found[f"effect_{block.group}"] = list(block.effects)
        found[f"effect_{block.group}_2"] = list(block.effects)
    return found


def coefficients(name: str, priors: Sequence[Prior], R: FloatArray, dims: str) -> Any:
    """Coefficients of columns that are R (k, k) in orthogonal ones, in whose coordinates they move.

    Where there are bounds, or priors of several kinds, it is in those of PyMC.
    """
    keywords: dict[str, Any] = {}
    if len({type(prior) for prior in priors}) == 1 and "lower" not in priors[0].numbers():
        keywords["default_transform"] = Centred(R)
    return pymc_vector(name, priors, place="location", dims=dims, **keywords)


def residual_sd(spec: ModelSpec) -> Any:
    """The variable sigma; one that is known is the constant 1."""
    prior = spec.priors.sigma
    if prior is None:
        return pm.Deterministic("sigma", pt.constant(1.0))
    return type(prior).pymc("sigma", prior.numbers(), place="scale")


def covariance(block: RandomBlock, prior: BlockPrior) -> tuple[Any, Any]:
    """The variables of one block's covariance; returns sd (q,) and L_corr (q, q)."""
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
    return sd, factor
