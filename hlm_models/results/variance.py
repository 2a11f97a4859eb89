"""Shares of the variance: intraclass correlations, marginal and conditional R2."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hlm_models.results.fits import PointFit
from hlm_models.results.point_only import point_only
from hlm_models.spec.density import residual_scale

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["R2", "VarianceParts", "icc", "r2", "variance_parts"]


@dataclass(frozen=True, slots=True)
class VarianceParts:
    """Variance of the response by where it comes from.

    fixed : of X beta over the rows (n - 1 in the denominator); an offset is no part of it
    groups : for each group, the mean of z' Psi z over the rows
    residual : the mean of sigma^2 / w over the rows
    """

    fixed: float
    groups: dict[str, float]
    residual: float

    @property
    def random(self) -> float:
        return sum(self.groups.values())


def variance_parts(fit: PointFit) -> VarianceParts:
    """The variance of the response in its parts.

    Source: Nakagawa and Schielzeth (2013), doi:10.1111/j.2041-210x.2012.00261.x; with random
    slopes Johnson (2014), doi:10.1111/2041-210X.12225.
    """
    design = fit.spec.design
    groups = {}
    for estimate, block in zip(fit.random, fit.spec.blocks, strict=True):
        moments = np.einsum("na,nb->ab", block.z, block.z) / design.n
        groups[block.group] = float(np.sum(moments * estimate.cov))
    scale = residual_scale(fit.spec, fit.sigma)
    return VarianceParts(
        fixed=float(np.var(design.X @ fit.beta, ddof=1)),
        groups=groups,
        residual=float(np.mean(np.square(scale))),
    )


def icc(fit: PointFit) -> "pd.DataFrame":
    """Intraclass correlations: one row a group, the last one for all groups together.

    Columns variance; adjusted, over the variance of groups and residual; and unadjusted, over that
    of the fixed part too. With random slopes the variance is its mean over the rows.

    Source: Nakagawa, Johnson and Schielzeth (2017), doi:10.1098/rsif.2017.0213.
    """
    import pandas as pd

    parts = variance_parts(point_only(fit, "icc"))
    variance = pd.Series({**parts.groups, "all groups": parts.random}, name="variance")
    left = parts.random + parts.residual
    return pd.DataFrame(
        {
            "variance": variance,
            "adjusted": variance / left,
            "unadjusted": variance / (left + parts.fixed),
        }
    ).rename_axis("group")


@dataclass(frozen=True, slots=True)
class R2:
    """Share of the variance that the fixed part explains, and that fixed and random explain."""

    marginal: float
    conditional: float


def r2(fit: PointFit) -> R2:
    """Marginal and conditional R2.

    Source: Nakagawa and Schielzeth (2013), doi:10.1111/j.2041-210x.2012.00261.x; with random
    slopes Johnson (2014), doi:10.1111/2041-210X.12225.
    """
    parts = variance_parts(point_only(fit, "r2"))
    total = parts.fixed + parts.random + parts.residual
    return R2(parts.fixed / total, (parts.fixed + parts.random) / total)
