"""Shares of the variance: intraclass correlations, marginal and conditional R2."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hlm_models.results.fits import PointFit
from hlm_models.results.point_only import point_only
from hlm_models.spec.model import ModelSpec
from hlm_models.types import FloatArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["R2", "VarianceParts", "icc", "r2", "variance_parts", "variance_parts_at"]


@dataclass(frozen=True, slots=True)
class VarianceParts:
    """Variance of the response by where it comes from; arrays have one number a draw.

    fixed : of X beta over the rows (n - 1 in the denominator); an offset is no part of it
    groups : for each group, the mean of z' Psi z over the rows
    residual : the mean of sigma^2 / w over the rows
    """

    fixed: FloatArray
    groups: dict[str, FloatArray]
    residual: FloatArray

    @property
    def random(self) -> FloatArray:
        return sum(self.groups.values(), start=np.zeros(np.shape(self.residual)))

    @property
    def total(self) -> FloatArray:
        return np.asarray(self.fixed + self.random + self.residual)

    @property
    def marginal(self) -> FloatArray:
        """Share of the fixed part."""
        return np.asarray(self.fixed / self.total)

    @property
    def conditional(self) -> FloatArray:
        """Share of the fixed and the random part."""
        return np.asarray((self.fixed + self.random) / self.total)

    @property
    def components(self) -> dict[str, FloatArray]:
        """Variance of each group, and of all groups together."""
        return {**self.groups, "all groups": self.random}

    def icc(self, variance: FloatArray) -> dict[str, FloatArray]:
        """`variance` and its shares: of groups and residual, and of the fixed part too."""
        return {
            "variance": variance,
            "adjusted": variance / (self.random + self.residual),
            "unadjusted": variance / self.total,
        }


def variance_parts_at(
    spec: ModelSpec, beta: FloatArray, cov: Sequence[FloatArray], sigma: FloatArray
) -> VarianceParts:
    """The parts at beta (..., p), the Psi (..., q, q) of every block and sigma (...).

    Source: Nakagawa and Schielzeth (2013), doi:10.1111/j.2041-210x.2012.00261.x; with random
    slopes Johnson (2014), doi:10.1111/2041-210X.12225.
    """
    design = spec.design
    centred = design.X - design.X.mean(axis=0)
    spread = centred.T @ centred / (design.n - 1)
    groups = {}
    for Psi, block in zip(cov, spec.blocks, strict=True):
        moments = np.einsum("na,nb->ab", block.z, block.z) / design.n
        groups[block.group] = np.asarray(np.sum(moments * Psi, axis=(-2, -1)))
    inverse = 1.0 if design.weights is None else float(np.mean(1 / design.weights))
    return VarianceParts(
        fixed=np.einsum("...a,ab,...b->...", beta, spread, beta),
        groups=groups,
        residual=np.asarray(np.square(spec.residual.scale(sigma)) * inverse),
    )


def variance_parts(fit: PointFit) -> VarianceParts:
    """The variance of the response in its parts."""
    cov = [estimate.cov for estimate in fit.random]
    return variance_parts_at(fit.spec, fit.beta, cov, np.asarray(fit.sigma))


def icc(fit: PointFit) -> "pd.DataFrame":
    """Intraclass correlations: one row a group, the last one for all groups together.

    Columns variance; adjusted, over the variance of groups and residual; and unadjusted, over that
    of the fixed part too. With random slopes the variance is its mean over the rows.

    Source: Nakagawa, Johnson and Schielzeth (2017), doi:10.1098/rsif.2017.0213.
    """
    import pandas as pd

    parts = variance_parts(point_only(fit, "icc"))
    rows = {group: parts.icc(variance) for group, variance in parts.components.items()}
    return pd.DataFrame.from_dict(rows, orient="index", dtype=float).rename_axis("group")


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
    return R2(float(parts.marginal), float(parts.conditional))
