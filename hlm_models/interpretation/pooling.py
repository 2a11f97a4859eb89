"""No pooling, complete pooling and partial pooling: every coefficient of every level by each."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hlm_models.algebra.group_least_squares import group_least_squares
from hlm_models.design.build import RandomBlock
from hlm_models.design.find_block import find_block
from hlm_models.interpretation.draws import effect_draws, spread, thinned, unknowns
from hlm_models.interpretation.group_ols import GroupedRows, least_squares_by_group, rows_of
from hlm_models.interpretation.level_columns import LevelColumns, level_columns
from hlm_models.results.arguments import checked_level
from hlm_models.results.fits import Fit, PointFit, PosteriorFit
from hlm_models.results.point_only import any_fit
from hlm_models.types import FloatArray, IntArray, frozen

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Estimates", "Pooling", "pooling"]

NUMBERS = 40_000_000
"""Most numbers of b that are taken: beyond it the draws are thinned."""

CHUNK = 4_000_000
"""About so many coefficients of levels, of all draws together, are made at a time."""


@dataclass(frozen=True, eq=False)
class Estimates:
    """Coefficients of each level by one way of pooling, (J, k) each; NaN where there is none."""

    estimate: FloatArray
    se: FloatArray
    lower: FloatArray
    upper: FloatArray


@dataclass(frozen=True, eq=False)
class Pooling:
    """Coefficients of each level of a group: `none`, `complete` and `partial` pooling.

    coefficients : the columns that vary within levels; what macro predictors do is in them
    sizes : (J,) rows
    none : least squares in each level by itself, with its own residual variance; NaN where the
        rows of the level cannot tell
    complete : least squares of all rows together
    partial : the fit; of a posterior means, sds and quantiles
    expected : (J, k) what the fixed part has for a level with these macro predictors, b = 0
    low, high : (J, k) the range of each column in each level
    centre : (k,) its mean over the rows
    cov : (k, k) covariance of the coefficients between levels with the same macro predictors, by
        Psi; of a posterior the mean of its draws, over levels where these differ
    rows : the columns and the response that all three are of
    others : other groups, which only `partial` takes into account
    """

    group: str
    labels: tuple[str, ...]
    coefficients: tuple[str, ...]
    response: str
    engine: str
    sizes: IntArray
    none: Estimates
    complete: Estimates
    partial: Estimates
    expected: FloatArray
    low: FloatArray
    high: FloatArray
    centre: FloatArray
    cov: FloatArray
    rows: GroupedRows
    others: tuple[str, ...]
    level: float

    def frame(self) -> "pd.DataFrame":
        """One row a coefficient of a level: its rows n, then each way with its se and interval."""
        import pandas as pd

        J, k = self.none.estimate.shape
        found = {
            self.group: np.repeat(np.array(self.labels, dtype=object), k),
            "coefficient": np.tile(np.array(self.coefficients, dtype=object), J),
            "n": np.repeat(self.sizes, k),
        }
        for name in ("none", "complete", "partial"):
            way: Estimates = getattr(self, name)
            found[name] = way.estimate.ravel()
            for part in ("se", "lower", "upper"):
                found[f"{name}_{part}"] = getattr(way, part).ravel()
        return pd.DataFrame(found)


def pooling(fit: Fit, group: str | None = None, *, level: float = 0.95) -> Pooling:
    """The coefficients of every level by three regressions of the same rows.

    Macro predictors are constant within a level: they are part of its constant, and in
    interactions part of its slopes, in all three. Intervals are t intervals of least squares,
    normal ones of a point fit (beta and b together, theta known) and quantiles of a posterior.

    Parameters
    ----------
    group : a grouping factor of the model; may be left out where it has one. Effects of other
        groups count in `partial` only
    level : of the intervals

    Raises
    ------
    InputErrors
        there is no such group, or several and none is named.
    RefusalError
        a predictor is a combination of others within all levels, and no macro predictor.

    Source: Gelman and Hill (2007), Data Analysis Using Regression and Multilevel/Hierarchical
    Models, chapter 12.
    """
    fit, level = any_fit(fit, "pooling"), checked_level(level)
    design = fit.spec.design
    block = find_block(design, group)
    columns = level_columns(design, block)
    X = columns.rows.X
    low, high = (np.full((block.J, X.shape[1]), end) for end in (np.inf, -np.inf))
    np.minimum.at(low, block.level, X)
    np.maximum.at(high, block.level, X)
    drawn = unknowns(fit)
    beta = drawn.beta.mean(axis=(0, 1))
    [at] = [k for k, one in enumerate(fit.spec.blocks) if one is block]
    Psi = drawn.cov[at].mean(axis=(0, 1))
    if isinstance(fit, PointFit):
        partial = _partial_point(fit, block, columns, level)
    else:
        partial = _partial_draws(fit, block, columns, level)
    return Pooling(
        group=block.group,
        labels=block.labels,
        coefficients=columns.names,
        response=design.formula.response,
        engine=fit.engine,
        sizes=block.sizes,
        none=_none(block, columns, level),
        complete=_complete(fit, block, columns, level),
        partial=partial,
        expected=frozen(columns.fixed @ beta),
        low=frozen(low),
        high=frozen(high),
        centre=frozen(X.mean(axis=0)),
        cov=frozen(np.einsum("jkq,qr,jlr->kl", columns.random, Psi, columns.random) / block.J),
        rows=columns.rows,
        others=tuple(one.group for one in design.blocks if one is not block),
        level=level,
    )


def _none(block: RandomBlock, columns: LevelColumns, level: float) -> Estimates:
    found = least_squares_by_group(columns.rows, block)
    estimate = np.where(columns.own, found.estimate, np.nan)
    se = np.where(columns.own, found.se, np.nan)
    df = found.df.astype(np.float64) if columns.rows.sigma is None else np.full(block.J, np.inf)
    return _around(estimate, se, df[:, None], level)


def _complete(fit: Fit, block: RandomBlock, columns: LevelColumns, level: float) -> Estimates:
    """The line of all rows, by its fixed part at each level's macro predictors."""
    rows = rows_of(fit.spec.design, block)
    one = np.zeros(len(rows.y), dtype=np.int64)
    found = group_least_squares(rows.X * rows.root[:, None], rows.y * rows.root, one, 1)
    df = len(rows.y) - int(found.rank[0])
    sigma = rows.sigma or np.sqrt(found.rss[0] / df)
    half = columns.fixed @ found.factor[0]
    return _around(
        columns.fixed @ found.estimate[0],
        sigma * np.sqrt(np.square(half).sum(axis=-1)),
        np.inf if rows.sigma else float(df),
        level,
    )


def _around(
    estimate: FloatArray, se: FloatArray, df: FloatArray | float, level: float
) -> Estimates:
    from scipy.special import stdtrit

    with np.errstate(invalid="ignore"):
        half = stdtrit(np.where(np.asarray(df) > 0, df, np.nan), (1 + level) / 2) * se
    return Estimates(frozen(estimate), frozen(se), frozen(estimate - half), frozen(estimate + half))


def _partial_point(
    fit: PointFit, block: RandomBlock, columns: LevelColumns, level: float
) -> Estimates:
    """Coefficients of a point fit, with the joint variance of beta and b."""
    J, k, p = columns.fixed.shape
    [at] = [i for i, one in enumerate(fit.spec.blocks) if one is block]
    z = [np.zeros((J * k, one.q)) for one in fit.spec.blocks]
    where = [np.full(J * k, -1) for _ in fit.spec.blocks]
    z[at], where[at] = columns.random.reshape(J * k, -1), np.repeat(np.arange(J), k)
    marginal = fit.spec.marginal
    parts = marginal.prediction_variance(
        marginal.scaled_theta(fit.theta),
        fit.sigma,
        columns.fixed.reshape(J * k, p),
        tuple(z),
        tuple(where),
    )
    b = fit.random[at].b
    estimate = columns.fixed @ fit.beta + np.einsum("jkq,jq->jk", columns.random, b)
    return _around(estimate, np.sqrt(sum(parts)).reshape(J, k), np.inf, level)


def _partial_draws(
    fit: PosteriorFit, block: RandomBlock, columns: LevelColumns, level: float
) -> Estimates:
    J, k, _ = columns.fixed.shape
    draws = thinned(fit, J * block.q, most=NUMBERS)
    beta = unknowns(fit, at=draws).beta
    [at] = [i for i, one in enumerate(fit.spec.blocks) if one is block]
    b = effect_draws(fit, at=draws)[at]
    out = [np.empty((J, k)) for _ in range(4)]
    step = max(1, CHUNK // (beta.shape[0] * beta.shape[1] * k))
    for lo in range(0, J, step):
        here = slice(lo, lo + step)
        found = np.einsum("cdp,jkp->cdjk", beta, columns.fixed[here], optimize=True)
        found += np.einsum("cdjq,jkq->cdjk", b[:, :, here], columns.random[here])
        part = spread(found, level)
        for whole, one in zip(out, (part.mean, part.sd, part.lower, part.upper), strict=True):
            whole[here] = one
    return Estimates(*(frozen(one) for one in out))
