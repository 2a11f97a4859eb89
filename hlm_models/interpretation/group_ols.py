"""Least squares in every group by itself, and what one gets from it ad hoc."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from hlm_models.algebra.group_least_squares import group_least_squares
from hlm_models.design.build import Design, RandomBlock
from hlm_models.design.find_block import find_block
from hlm_models.errors import InputErrors
from hlm_models.results.fits import PointFit, PosteriorFit
from hlm_models.spec.model import ModelSpec
from hlm_models.types import FloatArray, IntArray, frozen

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "AdHoc",
    "GroupOLS",
    "GroupedRows",
    "ad_hoc",
    "group_ols",
    "least_squares_by_group",
    "rows_of",
]


@dataclass(frozen=True, eq=False)
class GroupedRows:
    """X (n, p), y less its offset (n,), weights (n,), and the levels (n,) of one factor.

    `sigma` is the residual standard deviation of a row of weight 1 where it is known, else None.
    """

    X: FloatArray
    y: FloatArray
    weights: FloatArray
    level: IntArray
    J: int
    group: str
    coef: tuple[str, ...]
    sigma: float | None

    @cached_property
    def root(self) -> FloatArray:
        """What makes the variances of all rows the same, (n,)."""
        return np.sqrt(self.weights)


@dataclass(frozen=True, eq=False)
class GroupOLS:
    """Least-squares coefficients of each group.

    estimate, se : (J, k) NaN where a group's rows cannot tell; `se` by the group's own residual
        variance, NaN too where no residual degree of freedom is left, or by the known ones
    rss, df : (J,) residual sum of squares and its degrees of freedom
    sizes : (J,) rows
    """

    group: str
    labels: tuple[str, ...]
    columns: tuple[str, ...]
    sizes: IntArray
    estimate: FloatArray
    se: FloatArray
    rss: FloatArray
    df: IntArray

    def frame(self) -> "pd.DataFrame":
        """The coefficients as a table, one row a group."""
        import pandas as pd

        return pd.DataFrame(
            self.estimate, index=pd.Index(self.labels, name=self.group), columns=list(self.columns)
        )


@dataclass(frozen=True, eq=False)
class AdHoc:
    """Mean and covariance over groups of their own least-squares coefficients.

    mean : (k,) each coefficient's mean over the groups that have it (`counted` (k,) of them)
    cov : (k, k) sample covariance over the `complete` groups that have all of them

    Every group counts the same, and the covariance has the estimation error of the groups'
    coefficients in it: larger than Psi, and both are only rough.
    """

    columns: tuple[str, ...]
    mean: FloatArray
    cov: FloatArray
    counted: IntArray
    complete: int


def group_ols(model: ModelSpec | PointFit | PosteriorFit, group: str | None = None) -> GroupOLS:
    """Least squares of the response on the fixed-effect columns within each group.

    A column is left out of a group where it is a combination of columns before it (a constant
    predictor, too few rows), as R's `lm` does; one that is left out of every group (a predictor of
    the groups) is not among the columns. Weights and offset count.

    Parameters
    ----------
    group : a grouping factor of the model; may be left out where it has one

    Raises
    ------
    InputErrors
        the model has no such grouping factor, has several and none is named, or is no built model.
    """
    if not isinstance(model, ModelSpec | PointFit | PosteriorFit):
        raise InputErrors.one("give a model that is built, hlm.build(...), or a fit of one")
    design = (model if isinstance(model, ModelSpec) else model.spec).design
    block = find_block(design, group)
    return least_squares_by_group(rows_of(design, block), block)


def least_squares_by_group(rows: GroupedRows, block: RandomBlock) -> GroupOLS:
    """Least squares of the response on the columns of `rows` within each level of a block."""
    found = group_least_squares(
        rows.X * rows.root[:, None], rows.y * rows.root, block.level, block.J
    )
    kept = np.flatnonzero(found.estimable.any(axis=0))
    df = block.sizes - found.rank
    variance = np.divide(found.rss, df, out=np.full(block.J, np.nan), where=df > 0)
    if rows.sigma is not None:
        variance[:] = rows.sigma**2
    return GroupOLS(
        group=block.group,
        labels=block.labels,
        columns=tuple(rows.coef[k] for k in kept),
        sizes=block.sizes,
        estimate=frozen(found.estimate[:, kept]),
        se=frozen(np.sqrt(found.variance[:, kept] * variance[:, None])),
        rss=found.rss,
        df=frozen(df),
    )


def ad_hoc(groups: GroupOLS) -> AdHoc:
    """Rough mean and covariance of the group coefficients, from `group_ols`."""
    seen = ~np.isnan(groups.estimate)
    counted = seen.sum(axis=0)
    whole = groups.estimate[seen.all(axis=1)]
    k = len(groups.columns)
    cov = np.cov(whole.T).reshape(k, k) if len(whole) > 1 else np.full((k, k), np.nan)
    return AdHoc(
        groups.columns,
        frozen(np.nansum(groups.estimate, axis=0) / counted),
        frozen(cov),
        frozen(counted),
        len(whole),
    )


def rows_of(design: Design, block: RandomBlock) -> GroupedRows:
    """The rows of a design with the levels of one of its grouping factors."""
    y = design.y if design.offset is None else design.y - design.offset
    weights = np.ones(design.n) if design.weights is None else design.weights
    return GroupedRows(
        X=design.X,
        y=y,
        weights=weights,
        level=block.level,
        J=block.J,
        group=block.group,
        coef=design.coef,
        sigma=design.sigma,
    )
