"""Intraclass correlations and R2 of either kind of fit: of a posterior, draw by draw."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hlm_models.interpretation.draws import spread_rows, unknowns
from hlm_models.results import variance as of_points
from hlm_models.results.arguments import checked_level
from hlm_models.results.fits import Fit, PointFit
from hlm_models.results.point_only import any_fit, posterior_only
from hlm_models.results.variance import R2, VarianceParts, variance_parts_at
from hlm_models.types import FloatArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PosteriorR2", "icc", "r2", "variance_draws"]


@dataclass(frozen=True, eq=False)
class PosteriorR2:
    """Marginal and conditional R2 of every draw (chains, draws)."""

    marginal: FloatArray
    conditional: FloatArray
    level: float

    def frame(self) -> "pd.DataFrame":
        """Rows marginal and conditional: mean, sd, lower, upper."""
        import pandas as pd

        draws = {"marginal": self.marginal, "conditional": self.conditional}
        return pd.DataFrame(spread_rows(draws, self.level), index=pd.Index(draws, name="r2"))


def variance_draws(fit: Fit) -> VarianceParts:
    """The variance of the response in its parts, of every draw (chains, draws)."""
    fit = posterior_only(fit, "variance_draws")
    found = unknowns(fit)
    return variance_parts_at(fit.spec, found.beta, found.cov, found.sigma)


def icc(fit: Fit, *, level: float = 0.95) -> "pd.DataFrame":
    """Intraclass correlations of every group, and of all groups together.

    Of a point fit one row a group: variance; adjusted, over the variance of groups and residual;
    and unadjusted, over that of the fixed part too. Of a posterior one row for each of these:
    mean, sd, lower, upper; `variance_draws` has the draws. With random slopes the variance is its
    mean over the rows.

    Parameters
    ----------
    level : of the intervals, of a posterior

    Source: Nakagawa, Johnson and Schielzeth (2017), doi:10.1098/rsif.2017.0213.
    """
    import pandas as pd

    fit, level = any_fit(fit, "icc"), checked_level(level)
    if isinstance(fit, PointFit):
        return of_points.icc(fit)
    parts = variance_draws(fit)
    draws = {
        (group, share): values
        for group, variance in parts.components.items()
        for share, values in parts.icc(variance).items()
    }
    index = pd.MultiIndex.from_tuples(draws, names=["group", "share"])
    rows = spread_rows({str(key): one for key, one in draws.items()}, level)
    return pd.DataFrame(rows, index=index)


def r2(fit: Fit, *, level: float = 0.95) -> R2 | PosteriorR2:
    """Marginal and conditional R2: the shares of the fixed part, and of fixed and random part.

    Of a posterior, those of every draw. Psi stands for the variance of groups in the population,
    those of the data and others; `bayes_r2` is about the groups of the data.

    Parameters
    ----------
    level : of the intervals, of a posterior

    Source: Nakagawa and Schielzeth (2013), doi:10.1111/j.2041-210x.2012.00261.x; with random
    slopes Johnson (2014), doi:10.1111/2041-210X.12225.
    """
    fit, level = any_fit(fit, "r2"), checked_level(level)
    if isinstance(fit, PointFit):
        return of_points.r2(fit)
    parts = variance_draws(fit)
    return PosteriorR2(parts.marginal, parts.conditional, level)
