"""The full posterior by Gibbs sampling, where every prior is conjugate."""

from dataclasses import replace

import numpy as np

from hlm_models.config.settings import FitSettings
from hlm_models.gibbs.refusals import refusals
from hlm_models.results.clock import Clock
from hlm_models.results.design_checks import design_checks
from hlm_models.results.fits import PosteriorFit
from hlm_models.results.posterior import posterior_tree, stores_effects
from hlm_models.results.progress import Progress, Step
from hlm_models.results.sampling_checks import sampling_checks
from hlm_models.spec.model import ModelSpec

__all__ = ["fit", "refusals"]

DRAWS = True
"""Whether a fit is a posterior."""

IDLE = frozenset({"sampler", "parameterization", "target_accept"})
"""Keys of `fit` in a model file that have no effect."""

TUNE = 500
"""Sweeps before the draws, by default."""


def fit(
    spec: ModelSpec, settings: FitSettings, progress: Progress, *, with_log_likelihood: bool = False
) -> PosteriorFit:
    """Sample the posterior of a model that `refusals` has nothing against.

    Raises
    ------
    RefusalError
        the scheme is not for this model.
    FitError
        the response cannot be squared, the model fits the data exactly, or a draw has no law.
    """
    clock = Clock(progress, graph=False)
    clock(Step("loading compiled code, which is made on first use"))
    from hlm_models.gibbs.chains import Plan, draws_of, sample
    from hlm_models.gibbs.model import Scheme
    from hlm_models.spec.optimum import check_response
    from hlm_models.target.conditional import redrawn

    check_response(spec)
    sampling, tree, conditional = np.random.SeedSequence(settings.seed).spawn(3)
    with_effects = stores_effects(spec, settings.chains * settings.draws)
    plan = Plan(
        chains=settings.chains,
        tune=TUNE if settings.tune == "auto" else settings.tune,
        draws=settings.draws,
        thin=settings.gibbs.thin,
        cores=settings.threads,
        with_effects=with_effects,
    )
    chosen = settings.gibbs.scheme
    scheme: Scheme = "joint" if chosen == "auto" else chosen
    chains = sample(spec, scheme, plan, sampling, clock)
    clock(Step("collecting draws"))
    draws = draws_of(spec, chains)
    again = None if with_effects else redrawn(spec, draws, conditional)
    clock(Step("predictive draws"))
    data = posterior_tree(
        spec, draws, {}, tree, with_log_likelihood=with_log_likelihood, redrawn=again
    )
    clock.to("checks")
    bare = PosteriorFit(
        spec=spec,
        engine="gibbs",
        data=data,
        sampler="gibbs",
        parameterization=scheme,
        divergences=0,
        checks=(),
        seconds={**spec.seconds, **clock.seconds},
        seed=settings.seed,
    )
    return replace(bare, checks=(*sampling_checks(bare), *design_checks(spec)))
