"""The marginal graph: the random effects and the conjugate coefficients are integrated out."""

import importlib
import sys
from typing import Any

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt

from hlm_models.algebra.gram import Gram
from hlm_models.graph.integrated import Integrated
from hlm_models.graph.parameters import (
    coefficients,
    coords,
    covariance,
    residual_sd,
    shrunk_coefficients,
)
from hlm_models.spec.integration import Integration, integration
from hlm_models.spec.model import ModelSpec
from hlm_models.types import FloatArray, IntArray

__all__ = ["to_pymc_marginal"]


def to_pymc_marginal(spec: ModelSpec) -> pm.Model:
    """The model without b and without the coefficients whose prior is normal or flat.

    Variables: sigma, for each group g sd_g(effect_g) and corr_g(effect_g, effect_g_2) as in the
    latent graph, and beta_free(coef_free), the other coefficients. The likelihood is a potential,
    and its arrays are in `pm.Data`: what is compiled serves all data of one shape.

    Coefficients that are free move in the coordinates of their columns made orthogonal, or in
    those of PyMC where there are bounds or priors of several kinds. With a prior of several
    together they move as z_beta, see `shrunk_coefficients`.

    Source: docs/marginal.md.
    """
    split, design = integration(spec), spec.design
    names = coords(spec) | {"coef_free": [design.coef[k] for k in split.free]}
    if "jax" in sys.modules:
        importlib.import_module("hlm_models.graph.integrated_jax")
    with pm.Model(coords=names) as model:
        m, sigma = _data("fit", split.fit), residual_sd(spec)
        if len(split.free):
            m = m - pt.dot(_data("turn", split.turn), _free_coefficients(spec, split, sigma))
        factors = []
        pairs = zip(spec.blocks, spec.priors.blocks, strict=True)
        for (block, prior), scale in zip(pairs, spec.marginal.scales, strict=True):
            sd, factor = covariance(block, prior)
            factors.append(pt.dot(_data(f"R_{block.group}", scale.R), sd[:, None] * factor))
        sigma = spec.residual.scale(sigma)
        lam = pt.concatenate([factor.ravel() for factor in factors] or [np.zeros(0)]) / sigma
        arrays = [_data(f"likelihood_{i}", one) for i, one in enumerate(_arrays(spec, split))]
        several = len(spec.blocks) > 1
        value, _ = Integrated(several=several)(lam, pt.log(sigma), m, *arrays)
        pm.Potential("likelihood", value)
    return model


def _free_coefficients(spec: ModelSpec, split: Integration, sigma: Any) -> Any:
    """The variable beta_free."""
    joint = spec.priors.shrinkage
    if joint is None:
        priors = [spec.priors.beta[k] for k in split.free]
        R = np.linalg.qr(split.turn, mode="r")
        return coefficients("beta_free", priors, R, "coef_free")
    assert joint.places == tuple(split.free), "the others are normal or flat"
    return pm.Deterministic("beta_free", shrunk_coefficients(spec, joint, sigma), dims="coef_free")


def _arrays(spec: ModelSpec, split: Integration) -> list[FloatArray | IntArray]:
    """The arrays that the kernel takes after m, in its order."""
    products = spec.marginal.products
    if isinstance(products, Gram):
        return [products.G, products.H, products.T, *split.gaussian]
    from hlm_models.algebra.crossed_pass import several_blocks

    return [*several_blocks(products), *split.gaussian]


def _data(name: str, array: FloatArray | IntArray) -> Any:
    """What `pm.Data` makes, which would copy the array and keep only 32 bits of its integers."""
    # Read-only as it is, it is of one type wherever it is compiled for.
    shared = pytensor.shared(array, name, borrow=True)
    pm.modelcontext(None).register_data_var(shared)
    return shared
