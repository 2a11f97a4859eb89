"""The full posterior by the no-U-turn sampler."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hlm_models.algebra.compiled import uninterrupted
from hlm_models.config.settings import FitSettings
from hlm_models.results.clock import Clock
from hlm_models.results.design_checks import design_checks
from hlm_models.results.fits import PosteriorFit
from hlm_models.results.posterior import plain_draws, posterior_tree
from hlm_models.results.progress import Progress, Step
from hlm_models.results.sampling_checks import sampling_checks
from hlm_models.spec.information import choose_parameterization
from hlm_models.spec.model import ModelSpec, Parameterization
from hlm_models.spec.priors import improper_posterior

if TYPE_CHECKING:
    from xarray import DataTree

    from hlm_models.target.draws import VarianceDraws

__all__ = ["fit", "refusals"]

DRAWS = True
"""Whether a fit is a posterior."""

IDLE = frozenset({"gibbs"})
"""Keys of `fit` in a model file that have no effect."""


def refusals(spec: ModelSpec) -> tuple[str, ...]:
    """NUTS takes every model that has a posterior."""
    return improper_posterior(spec.design, spec.priors)


def fit(
    spec: ModelSpec, settings: FitSettings, progress: Progress, *, with_log_likelihood: bool = False
) -> PosteriorFit:
    """Sample the posterior, in the form that the settings name or the model has chosen.

    Raises
    ------
    InputErrors
        the sampler is not installed.
    FitError
        the response cannot be squared, the sampler found no point to start from, or a chain broke.
    """
    chosen = spec.parameterization
    if settings.parameterization != "auto":
        chosen, _ = choose_parameterization(spec.design, spec.priors, settings.parameterization)
    sampling, tree, conditional = np.random.SeedSequence(settings.seed).spawn(3)
    clock = Clock(progress, graph=True)
    seed = int(sampling.generate_state(1)[0])
    if chosen == "marginal":
        from hlm_models.spec.optimum import check_response
        from hlm_models.target.conditional import draw_posterior

        check_response(spec)
        variances, stats = _variances(spec, settings, seed, clock)
        clock(Step("drawing the effects"))
        draws, redrawn = draw_posterior(spec, variances, conditional)
    else:
        raw = _graph_draws(spec, chosen, settings, seed, clock)
        draws, stats = plain_draws(spec, raw)
        redrawn = None
    clock(Step("predictive draws"))
    data = posterior_tree(
        spec, draws, stats, tree, with_log_likelihood=with_log_likelihood, redrawn=redrawn
    )
    clock.to("checks")
    bare = PosteriorFit(
        spec=spec,
        engine="nuts",
        data=data,
        sampler=settings.sampler,
        parameterization=chosen,
        divergences=int(data["sample_stats"]["diverging"].sum()),
        checks=(),
        seconds={**spec.seconds, **clock.seconds},
        seed=settings.seed,
    )
    return replace(bare, checks=(*sampling_checks(bare), *design_checks(spec)))


def _variances(
    spec: ModelSpec, settings: FitSettings, seed: int, progress: Progress
) -> "tuple[VarianceDraws, Mapping[str, NDArray[Any]]]":
    """Draws of what the marginal form samples, and the sampler's statistics.

    By nutpie on our own compiled function; another sampler, or a prior that this function does not
    know, takes the PyMC model.
    """
    progress(Step("loading compiled code, which is made on first use"))
    from hlm_models.target.density import target

    found = target(spec)
    if found is not None and not found.size:
        # Sigma is known, and all else is drawn exactly: no sampler has anything to do.
        size = (settings.chains, settings.draws)
        return found.coordinates.values(np.zeros((*size, 0))), {"diverging": np.zeros(size, bool)}
    if found is None or settings.sampler != "nutpie":
        from hlm_models.target.draws import variances_of

        raw = _graph_draws(spec, "marginal", settings, seed, progress)
        return variances_of(spec, raw)
    from hlm_models.target.nutpie import sample
    from hlm_models.target.start import warm

    with uninterrupted():
        _ = found.function
    progress(Step("finding where to start"))
    with spec.marginal.one_thread():
        sampled = sample(warm(found), settings.sampling(warm=True), seed, progress)
    return found.coordinates.values(sampled.x), sampled.statistics


def _graph_draws(
    spec: ModelSpec, chosen: Parameterization, settings: FitSettings, seed: int, progress: Progress
) -> "DataTree":
    """Draws of the PyMC model, by any of its samplers."""
    progress(Step("importing PyMC"))
    from hlm_models.graph.models import to_pymc
    from hlm_models.graph.sampling import sample

    return sample(to_pymc(spec, chosen), settings.sampling(warm=False), seed, progress)
