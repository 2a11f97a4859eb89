"""What both graphs begin with: sigma, and the standard deviations and correlations of a block."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pymc.logprob.transforms import Transform

from hlm_models.design.build import RandomBlock
from hlm_models.parts.priors import Prior, pymc_vector
from hlm_models.spec.joint_prior import SHRUNK, JointPrior
from hlm_models.spec.model import ModelSpec
from hlm_models.spec.priors import BlockPrior
from hlm_models.types import FloatArray

__all__ = [
    "all_coefficients",
    "coefficients",
    "coords",
    "covariance",
    "residual_sd",
    "shrunk_coefficients",
]


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
    if spec.priors.shrinkage is not None:
        found[SHRUNK] = list(spec.priors.shrinkage.names)
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


def all_coefficients(spec: ModelSpec, sigma: Any) -> Any:
    """The variable beta (p,).

    With a prior of several together, the intercept moves as the one at the columns' means, which is
    `centre_beta`; its prior stays that of the intercept.
    """
    design, priors = spec.design, spec.priors
    if priors.shrinkage is None:
        return coefficients("beta", priors.beta, design.x_scaling.R, "coef")
    places = list(priors.shrinkage.places)
    shrunk = shrunk_coefficients(spec, priors.shrinkage, sigma)
    pieces = [shrunk]
    for k, prior in priors.own:
        form = prior.normal_form()
        assert form is not None, "an intercept beside such a prior has the default, or a flat one"
        loc, precision = (np.asarray(one) for one in form)
        rest = pt.dot(design.X[:, places].mean(axis=0), shrunk)
        centre = (
            pm.Normal("centre_beta", loc + rest, precision**-0.5)
            if precision > 0
            else pm.Flat("centre_beta")
        )
        pieces.append((centre - rest)[None])
        places.append(k)
    return pm.Deterministic("beta", pt.concatenate(pieces)[np.argsort(places)], dims="coef")


def shrunk_coefficients(spec: ModelSpec, joint: JointPrior, sigma: Any) -> Any:
    """The coefficients (D,) of a prior of several together.

    They move as z_beta, in units of about their posterior sd given the hyperparameters: of their
    prior sd where that is small, of their standard error by least squares where the prior is wide:
    else z_beta would be all but fixed by the data where a coefficient's own scale is large.
    """
    spread = np.array(joint.spread)
    scale = joint.law.pymc(sigma * joint.unit, joint.count, SHRUNK)
    root = np.linalg.inv(spec.design.x_scaling.R)[list(joint.places)]
    error = sigma * spread * np.linalg.norm(root, axis=1) / np.sqrt(spec.design.n)
    wide = pt.sqrt(1 + pt.sqr(scale / error))
    return pm.Normal("z_beta", 0.0, wide, dims=SHRUNK) * scale / wide / spread


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
