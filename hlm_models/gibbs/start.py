"""Where chains start: far apart, around the REML estimates."""

import numpy as np

from hlm_models.gibbs.machine import machine
from hlm_models.gibbs.state import State, chain_of
from hlm_models.gibbs.sweep import Chain, Model
from hlm_models.spec.marginal import end_to_end
from hlm_models.spec.model import ModelSpec
from hlm_models.target.start import Estimates
from hlm_models.types import FloatArray

__all__ = ["start"]

SPREAD_SD = 1.0
"""Standard deviation of the log sd of effects over the starts."""

SPREAD_SIGMA = 0.3
"""That of log sigma, which the rows tell better."""


def start(
    spec: ModelSpec, estimates: Estimates, rng: np.random.Generator
) -> tuple[Chain, tuple[FloatArray, ...]]:
    """A chain and its effects b (J, q) of every group, after one sweep of scheme `joint`.

    Standard deviations are the estimates times a log-normal number, correlations half the
    estimates; the sweep draws beta and b, which need no start.

    Raises
    ------
    FitError
        a draw has no law.
    """
    works = machine(spec, "joint")
    units = works.model.units
    factors = np.exp(SPREAD_SD * rng.standard_normal(works.sizes.Q))
    for f, width, m in zip(units.first, units.width, units.size, strict=True):
        # Effects that share a variance stay together.
        factors[f + m : f + width] = factors[f]
    Psi, at = [], 0
    for sd, corr in zip(estimates.sd, estimates.corr, strict=True):
        here = sd * factors[at : at + len(sd)]
        Psi.append((corr + np.eye(len(sd))) / 2 * np.outer(here, here))
        at += len(sd)
    sigma = estimates.sigma
    if spec.priors.sigma is not None:
        sigma *= float(np.exp(SPREAD_SIGMA * rng.standard_normal()))
    state = State(
        beta=estimates.beta,
        sigma=sigma,
        Psi=tuple(Psi),
        b=tuple(np.zeros((block.J, block.q)) for block in spec.blocks),
        a=_auxiliaries(works.model, Psi),
        sigma_a=_auxiliary(works.model, sigma),
        weights=np.ones(spec.design.p),
    )
    chain = chain_of(state, works.model)
    b = tuple(one.copy() for one in state.b)
    works.record(rng, chain, b, works.room(1, with_effects=False))
    return chain, b


def _auxiliaries(model: Model, Psi: list[FloatArray]) -> FloatArray:
    """The a (U, w) of every unit, one over the mean of its conditional law's inverse."""
    units = model.units
    precisions = end_to_end([np.diag(np.linalg.inv(one)) for one in Psi])
    found = np.ones(units.spread.shape)
    for u, (f, m) in enumerate(zip(units.first, units.size, strict=True)):
        rate = units.df[u] * precisions[f : f + m] + units.spread[u, :m] ** -2.0
        found[u, :m] = rate / ((units.nu[u] + 1) / 2) if units.df[u] > 0 else 1.0
    return found


def _auxiliary(model: Model, sigma: float) -> float:
    """The same of sigma."""
    nu, _, df, spread = model.sigma
    return (df / sigma**2 + spread**-2.0) / ((nu + 1) / 2) if df > 0 else 1.0
