"""What the priors did to a posterior: both side by side, and what changes as they are scaled.

Power scaling raises the prior, or the likelihood, to a power near 1 and looks how far each
parameter's posterior moves (`docs/priors.md`). The model of the top-level parameters beta, Psi
and sigma has two factors: their prior, and p(y | beta, Psi, sigma) with the random effects
integrated out. The density of the effects given Psi belongs to the latter: scaled as a prior, it
would be in conflict with the data in every model.

Source: Kallioinen et al. (2024), doi:10.1007/s11222-023-10366-5; by ArviZ.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from hlm_models.algebra.gram import Gram
from hlm_models.elpd.integrated import integrated_log_likelihood
from hlm_models.results.checks import Check, graded
from hlm_models.results.fits import PosteriorFit
from hlm_models.results.point_only import posterior_only
from hlm_models.results.prior import LogPrior, own_draws, own_log_prior
from hlm_models.results.summary import hyperparameters, parameter_draws, parameters
from hlm_models.spec.model import ModelSpec
from hlm_models.types import FloatArray, IntArray

if TYPE_CHECKING:
    import pandas as pd
    from xarray import Dataset

__all__ = [
    "Diagnosis",
    "SensitivityRow",
    "log_prior",
    "sensitivity",
    "sensitivity_checks",
    "sensitivity_rows",
]

Diagnosis = Literal[
    "", "informative prior", "prior-data conflict", "strong prior or weak likelihood"
]

THRESHOLD = 0.05
"""Sensitivity above which a posterior counts as moved, as in ArviZ."""
RARE = 0.05
"""Mass of the prior: where it has no more than this, a posterior is in its tail."""
OWN = 4000
"""Draws of each parameter's own prior."""
ALPHAS = (0.99, 1.01)
"""Powers on both sides of 1: those of ArviZ."""
WORK = 5e11
"""Multiply-adds, some ten seconds, that the likelihood of all draws may take."""
SLOW = 50
"""How many times as long one takes in the pass over levels as in a large matrix."""
LEAST = 400
"""Draws that it is computed at however long it takes."""
BINS = 20
"""Equally many draws are in each bin that the prior's mass is compared in."""


@dataclass(frozen=True, slots=True)
class SensitivityRow:
    """One parameter: how far its posterior moves with the prior and with the likelihood.

    tail : mass of its prior farther from the mode than the posterior's median, of all on that side
    overlap : the mass that prior and posterior have in common, 0 to 1
    width : the length of the posterior's central 90% over that of the prior's

    The last three are NaN where its prior is improper, and tail and overlap where it has no closed
    form.
    """

    parameter: str
    prior: float
    likelihood: float
    diagnosis: Diagnosis
    tail: float
    overlap: float
    width: float


def sensitivity(fit: PosteriorFit) -> "pd.DataFrame":
    """One row a population parameter: the columns of `SensitivityRow`.

    Raises
    ------
    InputErrors
        it is no fit.
    RefusalError
        it is a point fit.
    FitError
        the likelihood cannot be computed at some draw.
    """
    import pandas as pd

    rows = sensitivity_rows(posterior_only(fit, "sensitivity"))
    return pd.DataFrame([asdict(row) for row in rows]).set_index("parameter")


def sensitivity_rows(fit: PosteriorFit) -> tuple[SensitivityRow, ...]:
    """The rows of `sensitivity`."""
    spec, posterior = fit.spec, fit.data["posterior"].to_dataset()
    at = _thinned(spec, *(posterior.sizes[name] for name in ("chain", "draw")))
    by_prior = _weights(log_prior(spec, posterior))
    by_likelihood = _weights(integrated_log_likelihood(spec, posterior.isel(draw=at)))
    drawn = parameter_draws(fit)
    rng = np.random.default_rng(fit.seed)
    rows = []
    for one in (*parameters(spec), *hyperparameters(spec)):
        draws = drawn[one.name]
        prior, likelihood = _moved(draws, by_prior), _moved(draws[:, at], by_likelihood)
        tail, overlap, width = _beside(
            draws, own_log_prior(spec, one), own_draws(spec, one, rng, OWN)
        )
        rows.append(
            SensitivityRow(
                parameter=one.name,
                prior=prior,
                likelihood=likelihood,
                diagnosis=_diagnosis(prior, likelihood, tail),
                tail=tail,
                overlap=overlap,
                width=width,
            )
        )
    return tuple(rows)


def log_prior(spec: ModelSpec, posterior: "Dataset") -> FloatArray:
    """Log density of beta, sd, corr and sigma at every draw (chains, draws).

    With respect to what a user reads: each sd, not its logarithm or square, and the lower triangle
    of corr. The random effects are no part of it, nor are coefficients with a prior together, of
    which the hyperparameters count; improper priors count as density one.
    """

    def values(name: str) -> FloatArray:
        return np.asarray(posterior[name].transpose("chain", "draw", ...).values)

    total, priors = np.zeros(values("sigma").shape), spec.priors
    if priors.sigma is not None:
        total = total + priors.sigma.log_density(values("sigma"), place="scale")
    for k, prior in priors.own:
        total = total + prior.log_density(values("beta")[..., k], place="location")
    if priors.shrinkage is not None:
        joint = priors.shrinkage
        hyper = {name: values(name) for name in joint.dims}
        total = total + joint.law.log_density_hyper(hyper, values("sigma") * joint.unit)
    for block, of_block in zip(spec.blocks, priors.blocks, strict=True):
        sd, corr = values(f"sd_{block.group}"), values(f"corr_{block.group}")
        for term, covariance in zip(block.terms, of_block.terms, strict=True):
            here = term.columns
            total = total + covariance.log_density(sd[..., here], corr[..., here, here])
    return total


def sensitivity_checks(rows: Sequence[SensitivityRow]) -> tuple[Check, ...]:
    """Whether prior and data disagree, and whether the prior alone decides."""

    def gravest(values: list[float]) -> float:
        # What is not a number is the worst of all.
        return math.nan if any(map(math.isnan, values)) else max(values)

    def named(diagnosis: Diagnosis) -> str:
        return ", ".join(row.parameter for row in rows if row.diagnosis == diagnosis)

    conflict = named("prior-data conflict")
    decided = named("strong prior or weak likelihood")
    return (
        graded(
            "prior_data_conflict",
            gravest(
                [float(np.minimum(row.prior, row.likelihood)) * (row.tail < RARE) for row in rows]
            ),
            warn=THRESHOLD,
            message=f"prior and data disagree about {conflict}: the posterior is where the prior "
            "has little mass, and moves with either; see whether the prior says what is known"
            if conflict
            else "sensitivity to prior and likelihood, where a posterior is in its prior's tail",
        ),
        graded(
            "prior_sensitivity",
            gravest([row.prior * (row.likelihood <= THRESHOLD) for row in rows]),
            warn=THRESHOLD,
            message=f"the prior decides about {decided}, of which the data say little: report it "
            "with the result"
            if decided
            else "sensitivity to the prior where the likelihood says little",
        ),
    )


def _diagnosis(prior: float, likelihood: float, tail: float) -> Diagnosis:
    if not prior > THRESHOLD:
        return ""
    if not likelihood > THRESHOLD:
        return "strong prior or weak likelihood"
    return "prior-data conflict" if tail < RARE else "informative prior"


def _thinned(spec: ModelSpec, chains: int, draws: int) -> IntArray:
    """Draws of every chain that the likelihood is computed at; all of them but for huge models."""
    products = spec.marginal.products
    if isinstance(products, Gram):
        q, k, J = products.H.shape
        work = SLOW * J * q * (q + k) ** 2
    else:
        work = products.complement.work
    kept = int(np.clip(max(WORK / max(work, 1.0), LEAST) / chains, 2, draws))
    return np.linspace(0, draws - 1, kept).astype(np.int64)


def _weights(log_density: FloatArray) -> tuple[FloatArray, FloatArray] | None:
    """Weights (chains, draws) of the draws under both powers; none for a density that is constant.

    NaN where the density is not finite at some draw.
    """
    from arviz_stats.base.array import array_stats

    if not np.isfinite(log_density).all():
        lost = np.full(log_density.shape, np.nan)
        return lost, lost
    if np.ptp(log_density) == 0:
        return None

    def weights(alpha: float) -> FloatArray:
        smoothed = np.exp(array_stats.power_scale_lw(log_density, alpha=alpha, axis=(0, 1)))
        return np.asarray(smoothed / smoothed.sum())

    return weights(ALPHAS[0]), weights(ALPHAS[1])


def _moved(draws: FloatArray, weights: tuple[FloatArray, FloatArray] | None) -> float:
    """Power-scaling sensitivity; NaN for a constant."""
    from arviz_stats.base.array import array_stats

    if np.ptp(draws) == 0:
        return math.nan
    if weights is None:
        return 0.0
    if np.isnan(weights[0]).any():
        return math.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(
            array_stats.power_scale_sense(draws, *weights, *ALPHAS, chain_axis=0, draw_axis=1)
        )


def _tail(at: float, log_prior: LogPrior, before: FloatArray) -> float:
    """Share of the prior's draws on this side of its mode that are no nearer to it than `at` is."""
    density = log_prior(np.append(before, at))
    if density[-1] >= density.max() - 1e-9:
        return 1.0
    mode = before[int(np.argmax(density[:-1]))]
    side = before[before > mode] if at > mode else before[before < mode]
    beyond = side >= at if at > mode else side <= at
    return float(np.mean(beyond)) if len(side) else 0.0


def _beside(
    draws: FloatArray, log_prior: LogPrior | None, before: FloatArray | None
) -> tuple[float, float, float]:
    """Tail, overlap and width of a posterior, from its draws and those of its prior (m,)."""
    if before is None or np.ptp(draws) == 0:
        return math.nan, math.nan, math.nan
    lengths = [float(np.ptp(np.quantile(one, [0.05, 0.95]))) for one in (draws, before)]
    if log_prior is None:
        return math.nan, math.nan, lengths[0] / lengths[1]
    tail = _tail(float(np.median(draws)), log_prior, before)
    edges = np.quantile(draws, np.linspace(0, 1, BINS + 1))
    x = edges[:-1, None] + np.diff(edges)[:, None] * np.linspace(0, 1, 33)
    mass = np.trapezoid(np.exp(log_prior(x)), x, axis=1)
    return tail, float(np.sum(np.minimum(mass, 1 / BINS))), lengths[0] / lengths[1]
