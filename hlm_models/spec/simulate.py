"""Draws from the prior, and responses given the unknowns."""

import numpy as np

from hlm_models.errors import InputErrors, Problem
from hlm_models.spec.density import Point, linear_predictor, residual_scale
from hlm_models.spec.model import ModelSpec, free_scales
from hlm_models.types import FloatArray

__all__ = ["draw_prior", "draw_response", "improper"]


def improper(spec: ModelSpec) -> tuple[str, ...]:
    """Names of the parameters whose prior is improper: such a model cannot be drawn from."""
    names = [
        f"beta[{name}]"
        for name, prior in zip(spec.design.coef, spec.priors.beta, strict=True)
        if not prior.proper
    ]
    for block, prior in zip(spec.blocks, spec.priors.blocks, strict=True):
        for term, covariance in zip(block.terms, prior.terms, strict=True):
            names += [name for name, _, sd in free_scales(block, term, covariance) if not sd.proper]
    return tuple(names + ([] if spec.priors.sigma.proper else ["sigma"]))


def draw_prior(spec: ModelSpec, rng: np.random.Generator) -> Point:
    """One draw of all unknowns from their prior.

    Raises
    ------
    InputErrors
        a prior is improper; names the parameters.
    """
    flat = improper(spec)
    if flat:
        raise InputErrors(
            [
                Problem(f"{name} has an improper prior; a draw needs a proper one", key="priors")
                for name in flat
            ]
        )
    beta = np.array([prior.draw(rng, 1, place="location")[0] for prior in spec.priors.beta])
    sigma = float(spec.priors.sigma.draw(rng, 1, place="scale")[0])
    sds, corrs, bs = [], [], []
    for block, prior in zip(spec.blocks, spec.priors.blocks, strict=True):
        sd, corr = np.empty(block.q), np.eye(block.q)
        for term, covariance in zip(block.terms, prior.terms, strict=True):
            sd[term.columns], corr[term.columns, term.columns] = covariance.draw(rng)
        factor = sd[:, None] * np.linalg.cholesky(corr)
        sds.append(sd)
        corrs.append(corr)
        bs.append(rng.standard_normal((block.J, block.q)) @ factor.T)
    return Point(beta, sigma, tuple(sds), tuple(corrs), tuple(bs))


def draw_response(spec: ModelSpec, point: Point, rng: np.random.Generator) -> FloatArray:
    """One response vector (n,) given the unknowns."""
    scale = residual_scale(spec, point.sigma)
    return spec.family.draw(rng, linear_predictor(spec, point), scale)
