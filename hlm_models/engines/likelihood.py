"""REML and ML by the bundled fitter, on Gram blocks."""

import time

import numpy as np

from hlm_models.algebra.kernel import level_pass
from hlm_models.config.settings import FitSettings
from hlm_models.results.estimates import point_fit
from hlm_models.results.fits import PointFit
from hlm_models.results.progress import Progress, Step
from hlm_models.spec.model import ModelSpec
from hlm_models.spec.optimum import check_response, optimum
from hlm_models.types import frozen

__all__ = ["fit", "refusals"]

DRAWS = False
"""Whether a fit is a posterior."""

IDLE = frozenset(FitSettings.model_fields) - {"seed"}
"""Keys of `fit` in a model file that have no effect."""


def refusals(spec: ModelSpec) -> tuple[str, ...]:
    """Why the fitter cannot fit this model; empty where it can."""
    reasons = []
    for term, effects in spec.marginal.effects:
        if spec.design.sigma is None and effects >= spec.design.n:
            reasons.append(
                f"({term.text}) has {effects} random effects for {spec.design.n} rows: they "
                "cannot be told from the residual"
            )
    if spec.design.n <= spec.design.p:
        reasons.append(f"{spec.design.p} coefficients for {spec.design.n} rows")
    elif names := spec.design.dependent(range(spec.design.p)):
        reasons.append(f"{', '.join(names)} cannot be told apart in the rows that are left")
    reasons += [
        f"{block.group} has rows in one level only: a variance between groups cannot be estimated"
        for block in spec.blocks
        if np.count_nonzero(block.sizes) == 1 < block.J
    ]
    large = None if reasons else spec.marginal.too_large
    return (large,) if large else tuple(reasons)


def fit(spec: ModelSpec, settings: FitSettings, progress: Progress, *, reml: bool) -> PointFit:
    """Fit by REML (or ML) and certify the optimum.

    Raises
    ------
    FitError
        sigma tends to zero, or the criterion is not finite anywhere.

    Source: Bates et al. (2015), doi:10.18637/jss.v067.i01, section 3.4.
    """
    progress(Step("loading the kernel"))
    started = time.perf_counter()
    _warm()
    compiled = time.perf_counter()
    progress(Step("cross-products"))
    check_response(spec)
    built = time.perf_counter()
    with spec.marginal.one_thread():
        progress(Step("optimising"))
        theta, ends = optimum(spec, reml=reml)
        fitted = time.perf_counter()
        progress(Step("standard errors"))
        found = point_fit(spec, theta, reml=reml, starts=ends, seed=settings.seed)
    return found.timed(
        {
            **spec.seconds,
            "compile": compiled - started,
            "products": built - compiled,
            "fit": fitted - built,
            "inference": time.perf_counter() - fitted,
        }
    )


def _warm() -> None:
    """Load the compiled kernel, or compile it where no cache of it is left."""
    # Read-only blocks, as fits have them: others would be compiled for by themselves.
    G, H = frozen(np.ones((1, 1, 1))), frozen(np.ones((1, 2, 1)))
    level_pass(np.ones((1, 1)), G, H, np.eye(2), derivatives=True)
