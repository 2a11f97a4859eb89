"""Draws from the prior, and responses given the unknowns."""

import numpy as np

from hlm_models.algebra.correlation import correlation_root
from hlm_models.errors import InputErrors, Problem
from hlm_models.parts.covariances import Covariance
from hlm_models.spec.density import Point, linear_predictor, residual_scale
from hlm_models.spec.model import ModelSpec
from hlm_models.spec.priors import free_scales
from hlm_models.types import FloatArray

__all__ = [
    "correlation_draws",
    "draw_prior",
    "draw_response",
    "improper",
    "prior_draws",
    "refuse_improper",
]


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
    sigma = spec.priors.sigma
    return tuple(names + ([] if sigma is None or sigma.proper else ["sigma"]))


def refuse_improper(spec: ModelSpec) -> None:
    """Nothing where all priors are proper.

    Raises
    ------
    InputErrors
        a prior is improper; names the parameters.
    """
    flat = improper(spec)
    if flat:
        raise InputErrors(
            Problem(
                f"{name} has an improper prior, which cannot be drawn from: choose a proper one, "
                "e.g. preset: weak",
                key="priors",
            )
            for name in flat
        )


def draw_prior(spec: ModelSpec, rng: np.random.Generator) -> Point:
    """One draw of all unknowns from their prior.

    Raises
    ------
    InputErrors
        a prior is improper; names the parameters.
    """
    refuse_improper(spec)
    beta, of_sigma, joint = np.empty(spec.design.p), spec.priors.sigma, spec.priors.shrinkage
    for k, prior in spec.priors.own:
        beta[k] = prior.draw(rng, 1, place="location")[0]
    sigma = 1.0 if of_sigma is None else float(of_sigma.draw(rng, 1, place="scale")[0])
    hyper: dict[str, FloatArray] = {}
    if joint is not None:
        drawn, values = joint.draw(rng, np.array([sigma]))
        beta[list(joint.places)] = drawn[0]
        hyper = {name: one[0] for name, one in values.items()}
    sds, corrs, bs = [], [], []
    for block, of_block in zip(spec.blocks, spec.priors.blocks, strict=True):
        sd, corr = np.empty(block.q), np.eye(block.q)
        for term, covariance in zip(block.terms, of_block.terms, strict=True):
            sd[term.columns], corr[term.columns, term.columns] = covariance.draw(rng)
        factor = sd[:, None] * correlation_root(corr)
        sds.append(sd)
        corrs.append(corr)
        bs.append(rng.standard_normal((block.J, block.q)) @ factor.T)
    return Point(beta, sigma, tuple(sds), tuple(corrs), tuple(bs), hyper)


def prior_draws(spec: ModelSpec, rng: np.random.Generator, count: int) -> dict[str, FloatArray]:
    """So many draws of all unknowns but b: beta (count, p), sigma (count,), sd_g and corr_g.

    With those, the hyperparameters of a prior of coefficients together.

    Raises
    ------
    InputErrors
        a prior is improper; names the parameters.
    """
    refuse_improper(spec)
    of_sigma = spec.priors.sigma
    found = {
        "sigma": np.ones(count) if of_sigma is None else of_sigma.draw(rng, count, place="scale")
    }
    if spec.design.p:
        found["beta"] = np.empty((count, spec.design.p))
        for k, prior in spec.priors.own:
            found["beta"][:, k] = prior.draw(rng, count, place="location")
    joint = spec.priors.shrinkage
    if joint is not None:
        found["beta"][:, list(joint.places)], values = joint.draw(rng, found["sigma"])
        found |= values
    for block, of_block in zip(spec.blocks, spec.priors.blocks, strict=True):
        sd, corr = np.empty((count, block.q)), np.zeros((count, block.q, block.q))
        for term, covariance in zip(block.terms, of_block.terms, strict=True):
            here = term.columns
            sd[:, here], corr[:, here, here] = _covariances(covariance, term.q, rng, count)
        found |= {f"sd_{block.group}": sd, f"corr_{block.group}": corr}
    return found


def _covariances(
    covariance: Covariance, q: int, rng: np.random.Generator, count: int
) -> tuple[FloatArray, FloatArray]:
    """Draws of one term: sd (count, q), or (count, 1) for all alike, and corr (count, q, q)."""
    if covariance.partial_shapes() is None:
        drawn = [covariance.draw(rng) for _ in range(count)]
        return np.array([sd for sd, _ in drawn]), np.array([corr for _, corr in drawn])
    sd = [prior.draw(rng, count, place="scale") for prior in covariance.sd_priors()]
    return np.column_stack(sd), correlation_draws(covariance, q, rng, count)


def correlation_draws(
    covariance: Covariance, q: int, rng: np.random.Generator, count: int
) -> FloatArray:
    """Draws of the correlations of one term (count, q, q), whatever the priors of its sd.

    From the partial correlations all at once, where these are independent.
    """
    shapes = covariance.partial_shapes()
    if shapes is None:
        return np.array([covariance.draw(rng)[1] for _ in range(count)])
    partial = 2 * rng.beta(shapes, shapes, (count, len(shapes))) - 1
    factor = np.tile(np.eye(q), (count, 1, 1))
    rows, columns = np.tril_indices(q if len(shapes) else 1, -1)
    for z, row, column in zip(partial.T, rows, columns, strict=True):
        # The diagonal holds what the columns before have left of the row's length.
        factor[:, row, column] = z * factor[:, row, row]
        factor[:, row, row] *= np.sqrt(1 - z**2)
    corr = factor @ np.swapaxes(factor, 1, 2)
    corr[:, np.arange(q), np.arange(q)] = 1.0
    return np.asarray(corr)


def draw_response(spec: ModelSpec, point: Point, rng: np.random.Generator) -> FloatArray:
    """One response vector (n,) given the unknowns."""
    scale = residual_scale(spec, point.sigma)
    return spec.family.draw(rng, linear_predictor(spec, point), scale)
