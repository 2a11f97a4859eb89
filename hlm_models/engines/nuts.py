"""The full posterior by the no-U-turn sampler."""

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hlm_models.algebra.compiled import uninterrupted
from hlm_models.config.settings import FitSettings
from hlm_models.results.checks import Check, graded
from hlm_models.results.design_checks import design_checks
from hlm_models.results.fits import PosteriorFit
from hlm_models.results.posterior import plain_draws, posterior_tree
from hlm_models.results.progress import Progress, Step
from hlm_models.results.summary import draw_rows
from hlm_models.spec.model import ModelSpec, Parameterization
from hlm_models.types import FloatArray

if TYPE_CHECKING:
    from xarray import DataTree

    from hlm_models.target.draws import VarianceDraws

__all__ = ["fit", "refusals"]

DRAWS = True
"""Whether a fit is a posterior."""


def refusals(spec: ModelSpec) -> tuple[str, ...]:  # noqa: ARG001
    """NUTS takes every model that can be built."""
    return ()


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
    chosen = (
        spec.parameterization if settings.parameterization == "auto" else settings.parameterization
    )
    sampling, tree, conditional = np.random.SeedSequence(settings.seed).spawn(3)
    clock = Clock(progress)
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


class Clock:
    """Hands steps on and keeps the wall time by what was done.

    graph: importing PyMC and building its model; compile: compiling or loading what is compiled,
    and finding where to start; fit: sampling; draw: effects and predictive draws after it.
    """

    STAGES = (("importing PyMC", "graph"), ("compiling", "compile"), ("sampling", "fit"))

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.seconds = dict.fromkeys(("graph", "compile", "fit", "draw"), 0.0)
        self.now, self.since = "compile", time.perf_counter()

    def __call__(self, step: Step) -> None:
        found = [name for start, name in self.STAGES if step.stage.startswith(start)]
        self.to(found[0] if found else "draw" if self.now == "fit" else self.now)
        self.progress(step)

    def to(self, name: str) -> None:
        """From now on time is counted as that of `name`."""
        at = time.perf_counter()
        self.seconds[self.now] += at - self.since
        self.now, self.since = name, at


def _variances(
    spec: ModelSpec, settings: FitSettings, seed: int, progress: Progress
) -> "tuple[VarianceDraws, Mapping[str, NDArray[Any]]]":
    """Draws of what the marginal form samples, and the sampler's statistics.

    By nutpie on our own compiled function; another sampler, or a prior that this function does not
    know, takes the PyMC model.
    """
    progress(Step("loading compiled code, which is made on first use"))
    from hlm_models.target.density import target

    found = target(spec) if settings.sampler == "nutpie" else None
    if found is None:
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


def sampling_checks(fit: PosteriorFit) -> tuple[Check, ...]:
    """R-hat, effective sample sizes, divergences, energy and tree depth.

    Source: Vehtari et al. (2021), doi:10.1214/20-BA1221, section 4 for R-hat below 1.01 and an
    effective sample size of 100 a chain; Betancourt (2016), arXiv:1604.00695, for the energy.
    """
    rows = draw_rows(fit)
    stats = fit.data["sample_stats"].to_dataset()
    chains, draws = stats["diverging"].shape
    enough = 100.0 * chains

    def extreme(values: list[float], pick: str) -> tuple[float, str]:
        # Not a number is the worst of all: a free parameter that never moved, or broken draws.
        named = [(value, row.name) for value, row in zip(values, rows, strict=True)]
        lost = [one for one in named if math.isnan(one[0])]
        return lost[0] if lost else (max if pick == "max" else min)(named)

    r_hat, worst_r_hat = extreme([row.r_hat for row in rows], "max")
    bulk, worst_bulk = extreme([row.ess_bulk for row in rows], "min")
    tail, worst_tail = extreme([row.ess_tail for row in rows], "min")
    share = fit.divergences / (chains * draws)
    checks = [
        graded("r_hat", r_hat, warn=1.01, fail=1.05, message=f"largest R-hat ({worst_r_hat})"),
        graded(
            "ess_bulk",
            bulk,
            warn=enough,
            fail=enough / 4,
            below=True,
            message=f"smallest bulk effective sample size ({worst_bulk})",
        ),
        graded(
            "ess_tail",
            tail,
            warn=enough,
            fail=enough / 4,
            below=True,
            message=f"smallest tail effective sample size ({worst_tail})",
        ),
        graded(
            "divergences",
            share,
            warn=0.0,
            fail=0.01,
            message=f"share of divergent draws ({fit.divergences} of {chains * draws})",
        ),
    ]
    if "energy" in stats:
        checks.append(
            graded(
                "energy",
                bfmi(stats["energy"].values),
                warn=0.3,
                fail=0.2,
                below=True,
                message="smallest fraction of missing information of the energy (E-BFMI)",
            )
        )
    if "reached_max_treedepth" in stats:
        reached = float(stats["reached_max_treedepth"].mean())
        checks.append(
            graded("tree_depth", reached, warn=0.01, message="share of draws at the longest path")
        )
    return tuple(checks)


def bfmi(energy: FloatArray) -> float:
    """Smallest E-BFMI over chains of energies (chains, draws)."""
    change = np.mean(np.diff(energy, axis=1) ** 2, axis=1)
    return float(np.min(change / np.var(energy, axis=1, ddof=1)))
