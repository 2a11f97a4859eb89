"""The population parameters of a fit, one row each, with the same names for both kinds of fit."""

import math
import warnings
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from hlm_models.design.build import RandomBlock
from hlm_models.results.fits import Fit, PointFit, PosteriorFit
from hlm_models.results.point_only import any_fit
from hlm_models.spec.model import ModelSpec
from hlm_models.spec.priors import free_scales
from hlm_models.types import FloatArray

if TYPE_CHECKING:
    import pandas as pd
    from xarray import Dataset

__all__ = [
    "DrawRow",
    "Parameter",
    "PointRow",
    "draw_rows",
    "drawn_parameters",
    "hyperparameters",
    "mcse",
    "parameter_draws",
    "parameters",
    "point_rows",
    "summary",
]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One population parameter: its name, and where it stands in the posterior.

    `variable` is the posterior's variable and `index` the place in it.
    """

    name: str
    variable: str
    index: tuple[int, ...]


def parameters(spec: ModelSpec) -> tuple[Parameter, ...]:
    """Coefficients, standard deviations, free correlations and sigma, in this order.

    A standard deviation that the effects of a term share is one parameter; a sigma that is known
    is none.
    """
    found = [Parameter(f"beta[{name}]", "beta", (k,)) for k, name in enumerate(spec.design.coef)]
    for block, prior in zip(spec.blocks, spec.priors.blocks, strict=True):
        found += [
            Parameter(name, f"sd_{block.group}", (k,))
            for term, covariance in zip(block.terms, prior.terms, strict=True)
            for name, k, _ in free_scales(block, term, covariance)
        ]
    for block in spec.blocks:
        found += [
            Parameter(
                f"corr_{block.group}[{block.effects[j]}, {block.effects[i]}]",
                f"corr_{block.group}",
                (i, j),
            )
            for i, j in free_correlations(block)
        ]
    return (*found, Parameter("sigma", "sigma", ())) if spec.design.sigma is None else tuple(found)


def hyperparameters(spec: ModelSpec) -> tuple[Parameter, ...]:
    """That of a prior of coefficients together that says most: the rest stay in the posterior.

    They are of the prior, so that a point estimate has none.
    """
    joint = spec.priors.shrinkage
    return () if joint is None else (Parameter(joint.law.common[0], joint.law.common[0], ()),)


def free_correlations(block: RandomBlock) -> list[tuple[int, int]]:
    """Places (row, column) below the diagonal of the correlations that are not fixed at zero."""
    rows, columns = np.nonzero(np.tril(block.mask, -1))
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


def parameter_draws(fit: PosteriorFit) -> dict[str, FloatArray]:
    """Draws of every population parameter and hyperparameter, (chains, draws) each, by name."""
    return drawn_parameters(fit.spec, fit.data["posterior"].to_dataset())


def drawn_parameters(spec: ModelSpec, drawn: "Dataset") -> dict[str, FloatArray]:
    """What `parameter_draws` has, from the variables of a group."""
    found = {}
    for one in (*parameters(spec), *hyperparameters(spec)):
        draws = np.asarray(drawn[one.variable].values)
        for place in one.index:
            draws = draws[:, :, place]
        found[one.name] = draws
    return found


@dataclass(frozen=True, slots=True)
class DrawRow:
    """Posterior summary of one parameter; the interval is 95%, equal-tailed."""

    name: str
    mean: float
    sd: float
    lower: float
    upper: float
    ess_bulk: float
    ess_tail: float
    r_hat: float
    mcse_mean: float


def draw_row(name: str, draws: FloatArray) -> DrawRow:
    """Summary of draws (chains, draws); NaN diagnostics for a constant."""
    lower, upper = np.quantile(draws, [0.025, 0.975])
    bulk = ess(draws, "bulk")
    sd = float(draws.std(ddof=1))
    return DrawRow(
        name=name,
        mean=float(draws.mean()),
        sd=sd,
        lower=float(lower),
        upper=float(upper),
        ess_bulk=bulk,
        ess_tail=ess(draws, "tail"),
        r_hat=r_hat(draws),
        mcse_mean=sd / math.sqrt(ess(draws, "mean")) if bulk > 0 else math.nan,
    )


def ess(draws: FloatArray, method: str) -> float:
    """Effective sample size (Vehtari et al. 2021, doi:10.1214/20-BA1221); NaN for a constant."""
    from arviz_stats.base.array import array_stats

    if np.ptp(draws) == 0:
        return math.nan
    extra = {"prob": (0.05, 0.95)} if method == "tail" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(array_stats.ess(draws, chain_axis=0, draw_axis=1, method=method, **extra))


def mcse(draws: FloatArray, method: str) -> float:
    """Monte Carlo standard error of the `mean` or the `sd`; NaN for a constant."""
    from arviz_stats.base.array import array_stats

    if np.ptp(draws) == 0:
        return math.nan
    return float(array_stats.mcse(draws, chain_axis=0, draw_axis=1, method=method))


def r_hat(draws: FloatArray) -> float:
    """Rank-normalised split R-hat (Vehtari et al. 2021, doi:10.1214/20-BA1221)."""
    from arviz_stats.base.array import array_stats

    if np.ptp(draws) == 0:
        return math.nan
    return float(array_stats.rhat(draws, chain_axis=0, draw_axis=1))


def draw_rows(fit: PosteriorFit) -> tuple[DrawRow, ...]:
    """Summary of every population parameter and hyperparameter."""
    return tuple(draw_row(name, draws) for name, draws in parameter_draws(fit).items())


def point_values(fit: PointFit) -> dict[str, tuple[float, float]]:
    """Estimate and standard error of every population parameter, by name; NaN where absent."""
    found: dict[str, tuple[float, float]] = {}
    se_beta = np.sqrt(np.diag(fit.vcov_beta))
    by_group = {estimate.group: estimate for estimate in fit.random}
    for one in parameters(fit.spec):
        if one.variable == "beta":
            [k] = one.index
            found[one.name] = (float(fit.beta[k]), float(se_beta[k]))
        elif one.variable == "sigma":
            found[one.name] = (fit.sigma, fit.sigma * fit.se_log_sigma)
        elif one.variable.startswith("sd_"):
            estimate, [k] = by_group[one.variable.removeprefix("sd_")], one.index
            sd = float(estimate.sd[k])
            found[one.name] = (sd, sd * float(estimate.se_log_sd[k]))
        else:
            estimate = by_group[one.variable.removeprefix("corr_")]
            r = float(estimate.corr[one.index])
            found[one.name] = (r, (1 - r**2) * float(estimate.se_z_corr[one.index]))
    return found


def summary(fit: Fit) -> "pd.DataFrame":
    """One row a population parameter; the same rows for both kinds of fit.

    Columns of a posterior: mean, sd, lower, upper (95%, equal-tailed), ess_bulk, ess_tail, r_hat,
    mcse_mean. Of a point fit: estimate, se, df, statistic, p, lower, upper (95%, Wald t with
    Satterthwaite's df; for the coefficients only, intervals of the others are on the log scale or
    Fisher's z, transformed back).

    Raises
    ------
    InputErrors
        it is no fit.
    """
    import pandas as pd

    fit = any_fit(fit, "summary")
    rows: tuple[DrawRow, ...] | tuple[PointRow, ...]
    rows = draw_rows(fit) if isinstance(fit, PosteriorFit) else point_rows(fit)
    return pd.DataFrame([asdict(row) for row in rows]).set_index("name").rename_axis("parameter")


@dataclass(frozen=True, slots=True)
class PointRow:
    """Point estimate of one parameter and its Wald test; the interval is 95%, NaN where absent."""

    name: str
    estimate: float
    se: float
    df: float
    statistic: float
    p: float
    lower: float
    upper: float


def coefficient_rows(fit: PointFit) -> tuple[PointRow, ...]:
    """Estimates, Satterthwaite df, t, p and 95% intervals of the coefficients."""
    from scipy.special import stdtr, stdtrit

    rows = []
    se = np.sqrt(np.diag(fit.vcov_beta))
    for k, name in enumerate(fit.spec.design.coef):
        t = float(fit.beta[k] / se[k])
        half = float(stdtrit(fit.df[k], 0.975)) * float(se[k])
        rows.append(
            PointRow(
                name=name,
                estimate=float(fit.beta[k]),
                se=float(se[k]),
                df=float(fit.df[k]),
                statistic=t,
                p=2 * float(stdtr(fit.df[k], -abs(t))),
                lower=float(fit.beta[k]) - half,
                upper=float(fit.beta[k]) + half,
            )
        )
    return tuple(rows)


def point_rows(fit: PointFit) -> tuple[PointRow, ...]:
    """One row a population parameter; df, t and p of the coefficients only."""
    tests = {f"beta[{row.name}]": row for row in coefficient_rows(fit)}
    rows = []
    for name, (estimate, se) in point_values(fit).items():
        if name in tests:
            rows.append(replace(tests[name], name=name))
        else:
            ends = _transformed_interval(name, estimate, se)
            rows.append(PointRow(name, estimate, se, math.nan, math.nan, math.nan, *ends))
    return tuple(rows)


def _transformed_interval(name: str, estimate: float, se: float) -> tuple[float, float]:
    z = 1.959963984540054
    if not math.isfinite(se) or estimate == 0:
        return math.nan, math.nan
    if name.startswith("corr_"):
        middle, half = math.atanh(estimate), z * se / (1 - estimate**2)
        return math.tanh(middle - half), math.tanh(middle + half)
    factor = math.exp(z * se / estimate)
    return estimate / factor, estimate * factor
