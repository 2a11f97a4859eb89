"""The adapter between engines: where posterior and REML differ, by how much, and why.

Differences are judged on scales where a posterior is nearly normal: beta itself, log sd, Fisher's
z of a correlation, log sigma. `docs/agreement.md` lists the verdicts.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from hlm_models.errors import ModelMismatchError
from hlm_models.results.fits import PointFit, PosteriorFit
from hlm_models.results.prior import own_log_prior
from hlm_models.results.summary import Parameter, ess, parameter_draws, parameters, point_values
from hlm_models.spec.model import ModelSpec
from hlm_models.types import FloatArray

__all__ = ["Agreement", "AgreementRow", "Cause", "Verdict", "agreement", "judge", "on_its_scale"]

Verdict = Literal["agree", "shifted", "spread", "boundary"]
Cause = Literal["", "prior", "skew", "boundary", "monte carlo", "unexplained"]

SHIFT = 0.25
"""A difference of so many posterior sds is a shift."""
SPREADS = (0.8, 1.25)
"""Ratios of posterior sd to standard error that count as the same spread."""
PULL = 2.0
"""A prior so many log units denser at the posterior mean than at the estimate holds it there."""
SKEWED = 0.3
"""Skewness beyond which the mode of the draws says something."""
SMALL = 0.1
"""A random effect whose typical size is below this share of sigma is near zero."""
STRONG = 0.95
"""A correlation beyond this is near the boundary."""


@dataclass(frozen=True, slots=True)
class AgreementRow:
    """One parameter: posterior against point estimate.

    `mean`, `sd`, `estimate` and `se` are in the parameter's own units (`se` NaN on the boundary);
    `d` (difference in posterior sds), `d_mcse` (in Monte Carlo standard errors) and `spread_ratio`
    (posterior sd over standard error) are on the verdict's scale: beta itself, log sd, Fisher's z
    of a correlation, log sigma. They are NaN where the estimate is on the boundary.
    """

    parameter: str
    mean: float
    sd: float
    estimate: float
    se: float
    d: float
    d_mcse: float
    spread_ratio: float
    verdict: Verdict
    cause: Cause
    why: str


@dataclass(frozen=True, slots=True)
class Agreement:
    """The whole table, and which two fits it compares."""

    model: str
    posterior: str
    reference: str
    rows: tuple[AgreementRow, ...]


def agreement(posterior: PosteriorFit, reference: PointFit) -> Agreement:
    """Posterior against REML (or ML), parameter by parameter, with a verdict in words.

    Raises
    ------
    ModelMismatchError
        the two fits are not of the same model and data.
    """
    spec = posterior.spec
    if _identity(spec) != _identity(reference.spec):
        raise ModelMismatchError(
            f"{posterior.engine} and {reference.engine} did not fit the same model and data"
        )
    draws = parameter_draws(posterior)
    values = point_values(reference)
    singular = {estimate.group for estimate in reference.random if estimate.singular}
    rows = []
    for one in parameters(spec):
        estimate, se = values[one.name]
        name = reference.engine.upper()
        group = one.variable.partition("_")[2]
        if group in singular and not math.isfinite(se):
            why = _near_boundary(spec, one, draws, name)
            rows.append(_boundary_row(one.name, draws[one.name], estimate, why))
            continue
        rows.append(
            judge(
                one.name,
                draws[one.name],
                estimate,
                se,
                log_prior=own_log_prior(spec, one),
                pulled_by=_pulled_by(spec, one),
                reference=name,
                singular=bool(singular),
            )
        )
    return Agreement(spec.name, posterior.engine, reference.engine, _with_their_sds(rows))


def _with_their_sds(rows: Sequence[AgreementRow]) -> tuple[AgreementRow, ...]:
    """A correlation that nothing explains follows its standard deviations, if a prior moves these.

    The data say more of a covariance than of its factors.
    """
    moved = {row.parameter: row.why for row in rows if row.cause == "prior"}
    found = []
    for row in rows:
        kind, _, rest = row.parameter.partition("_")
        group, _, pair = rest.removesuffix("]").partition("[")
        sds = [f"sd_{group}[{effect}]" for effect in pair.split(", ")]
        known = [name for name in sds if name in moved]
        if row.cause == "unexplained" and kind == "corr" and known:
            start = row.why.partition(": ")[0]
            why = f"{start}: it follows {' and '.join(known)}, which the prior moves"
            found.append(replace(row, cause="prior", why=why))
        else:
            found.append(row)
    return tuple(found)


def _pulled_by(spec: ModelSpec, one: Parameter) -> str:
    joint = spec.priors.shrinkage
    if joint is None or one.variable != "beta" or one.index[0] not in joint.places:
        return ""
    return joint.law.kind


def _identity(spec: ModelSpec) -> tuple[object, ...]:
    """What two fits must share for their parameters to mean the same."""
    design = spec.design
    return (
        design.table.digest,
        design.weights_column,
        design.known_sd_column,
        design.offset_column,
        design.factors,
        [one.name for one in parameters(spec)],
    )


def judge(
    name: str,
    draws: FloatArray,
    estimate: float,
    se: float,
    *,
    log_prior: Callable[[FloatArray], FloatArray] | None = None,
    pulled_by: str = "",
    reference: str = "REML",
    singular: bool = False,
) -> AgreementRow:
    """Verdict on one parameter that is not on the boundary.

    Parameters
    ----------
    name : its first letters say the scale: `sd_`, `corr_` or `sigma`, else the parameter itself
    draws : (chains, draws) in the parameter's own units
    estimate, se : point estimate and standard error in the same units
    log_prior : log density of the parameter's own prior at values of it, where it has one
    pulled_by : the prior of several coefficients together that pulls it to zero, where it has none
    singular : whether the point fit is on the boundary in some other parameter
    """
    scale, slope = _scale(name)
    z, at = scale(draws), float(scale(np.asarray(estimate)))
    spread = float(z.std(ddof=1))
    away = float(z.mean()) - at
    error = spread / math.sqrt(ess(z, "mean")) if spread > 0 else math.nan
    d = away / spread if spread > 0 else math.copysign(math.inf, away)
    d_mcse = away / error
    ratio = spread / (se * float(slope(np.asarray(estimate)))) if se > 0 else math.nan
    verdict: Verdict = "agree"
    cause: Cause = ""
    why = ""
    if abs(d) >= SHIFT:
        verdict = "shifted"
        cause, why = _cause(name, z, draws, estimate, at, d_mcse, log_prior, pulled_by, reference)
        if cause == "unexplained" and singular:
            cause = "boundary"
            why = f"{reference} stands on the boundary of other parameters, the posterior does not"
        why = f"{abs(d):.2g} posterior sd {'above' if d > 0 else 'below'} {reference}: {why}"
    elif ratio < SPREADS[0] or ratio > SPREADS[1]:
        verdict = "spread"
        word = "wider" if ratio > 1 else "narrower"
        why = f"same place, {word}: " + (
            "the posterior carries the uncertainty of the variances, the standard error not"
            if ratio > 1
            else "the prior adds information"
        )
    if verdict == "agree" and not math.isfinite(ratio):
        why = f"{reference} has no standard error here, so the spreads are not compared"
    return AgreementRow(
        parameter=name,
        mean=float(draws.mean()),
        sd=float(draws.std(ddof=1)),
        estimate=estimate,
        se=se,
        d=d,
        d_mcse=d_mcse,
        spread_ratio=ratio,
        verdict=verdict,
        cause=cause,
        why=why,
    )


def _cause(
    name: str,
    z: FloatArray,
    draws: FloatArray,
    estimate: float,
    at: float,
    d_mcse: float,
    log_prior: Callable[[FloatArray], FloatArray] | None,
    pulled_by: str,
    reference: str,
) -> tuple[Cause, str]:
    """The likeliest reason of a shift, tried in turn."""
    if abs(d_mcse) < 4:
        return "monte carlo", "within Monte Carlo error; draw more"
    if log_prior is not None:
        there, here = log_prior(np.asarray(estimate)), log_prior(np.asarray(float(draws.mean())))
        pull = float(here) - float(there)
        if pull > PULL:
            return (
                "prior",
                f"the prior holds it: e^{pull:.2g} times as dense there as at {reference}",
            )
        flatter = _mean_under_flatter_prior(z, log_prior(draws))
        if abs(flatter - at) < 0.9 * abs(float(z.mean()) - at):
            return (
                "prior",
                f"the prior moves it; under a flatter one it comes closer to {reference}",
            )
    if pulled_by and abs(float(z.mean())) < abs(at):
        return "prior", f"{pulled_by} pulls it towards 0"
    # The mode is sought in the parameter's own units, where the likelihood has its peak; that of
    # symmetric draws is as noisy as a shift is large.
    mode = half_sample_mode(draws.ravel())
    own, middle = _scale(name)[0](np.asarray(mode)), float(z.mean())
    if skewness(draws) > SKEWED and abs(float(own) - at) < 0.5 * abs(middle - at):
        return "skew", f"the posterior is skewed; its mode, {mode:.4g}, is closer than its mean"
    return "unexplained", "neither skew nor its own prior explains it; look at the other parameters"


def skewness(draws: FloatArray) -> float:
    """Absolute skewness of all draws, third moment over sd cubed."""
    centred = draws.ravel() - draws.mean()
    third, second = float(np.mean(centred**3)), float(np.mean(centred**2))
    return abs(third) / math.pow(second, 1.5)


def _mean_under_flatter_prior(z: FloatArray, log_prior: FloatArray) -> float:
    """Posterior mean with the prior raised to the power 1/2, by importance weights.

    Source: Kallioinen et al. (2024), doi:10.1007/s11222-023-10366-5 (power-scaling).
    """
    log_weight = -0.5 * log_prior
    weight = np.exp(log_weight - log_weight.max())
    return float(np.sum(weight * z)) / float(np.sum(weight))


def half_sample_mode(values: FloatArray) -> float:
    """Mode of a sample, by halving to the densest half again and again.

    Source: Robertson and Cryer (1974), doi:10.1080/01621459.1974.10480236; stopped while a
    hundred values are left, whose mean is steadier than the last halvings.
    """
    ordered = np.sort(values)
    while len(ordered) > 100:
        half = (len(ordered) + 1) // 2
        widths = ordered[half - 1 :] - ordered[: len(ordered) - half + 1]
        start = int(np.argmin(widths))
        ordered = ordered[start : start + half]
    return float(ordered.mean())


def _boundary_row(name: str, draws: FloatArray, estimate: float, why: str) -> AgreementRow:
    return AgreementRow(
        parameter=name,
        mean=float(draws.mean()),
        sd=float(draws.std(ddof=1)),
        estimate=estimate,
        se=math.nan,
        d=math.nan,
        d_mcse=math.nan,
        spread_ratio=math.nan,
        verdict="boundary",
        cause="boundary",
        why=why,
    )


def _near_boundary(
    spec: ModelSpec, one: Parameter, draws: dict[str, FloatArray], reference: str
) -> str:
    """How much posterior mass lies near the boundary that the point estimate is on."""
    group = one.variable.partition("_")[2]
    at = [block.group for block in spec.blocks].index(group)
    block = spec.blocks[at]
    start = f"{reference} is on the boundary"
    if one.variable.startswith("sd_"):
        [k] = one.index
        [part] = [part for part in spec.marginal.parts[at] if k in part.columns]
        columns = block.z[:, [k] if part.weight is None else part.columns]
        size = math.sqrt(float(np.mean(np.sum(columns**2, axis=1))))
        design = spec.design
        if design.sigma is None:
            beside, unit = draws["sigma"], "sigma"
        else:
            beside = np.asarray(math.exp(-design.log_weights / (2 * design.n)))
            unit = f"of a typical {design.known_sd_column}"
        near = float(np.mean(draws[one.name] * size < SMALL * beside))
        return f"{start}; {near:.0%} of the posterior has the effect below {SMALL:g} {unit}"
    near = float(np.mean(np.abs(draws[one.name]) > STRONG))
    return f"{start}; {near:.0%} of the posterior has |corr| above {STRONG:g}"


def on_its_scale(name: str, draws: FloatArray) -> FloatArray:
    """Draws of a parameter of this name on the verdict's scale."""
    return _scale(name)[0](draws)


def _scale(
    name: str,
) -> tuple[Callable[[FloatArray], FloatArray], Callable[[FloatArray], FloatArray]]:
    """The verdict's scale and its derivative."""
    if name.startswith("corr_"):
        return _fisher, lambda x: 1 / (1 - x**2)
    if name.startswith("sd_") or name == "sigma":
        return lambda x: np.log(np.maximum(x, 1e-300)), lambda x: 1 / x
    return lambda x: x, np.ones_like


def _fisher(x: FloatArray) -> FloatArray:
    return np.asarray(np.arctanh(np.clip(x, -1 + 1e-15, 1 - 1e-15)))
