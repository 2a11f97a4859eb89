"""A model in the form that is asked for."""

import pymc as pm

from hlm_models.graph.latent import to_pymc_latent
from hlm_models.graph.marginal import to_pymc_marginal
from hlm_models.spec.model import ModelSpec, Parameterization

__all__ = ["to_pymc"]


def to_pymc(spec: ModelSpec, parameterization: Parameterization) -> pm.Model:
    """The latent graph, centred or non-centred, or the marginal one."""
    if parameterization == "marginal":
        return to_pymc_marginal(spec)
    return to_pymc_latent(spec, parameterization)
