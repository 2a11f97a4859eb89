"""The ladder of regressions, from group means over separate groups to the mixed model."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from hlm_models.algebra.group_least_squares import ALIASED, group_least_squares, group_means
from hlm_models.design.find_block import find_block
from hlm_models.engines.find import require
from hlm_models.errors import InputErrors, nearest
from hlm_models.interpretation.group_ols import GroupedRows, rows_of
from hlm_models.results.fits import PointFit
from hlm_models.results.progress import Progress, silent
from hlm_models.spec.model import ModelSpec
from hlm_models.types import BoolArray, FloatArray, frozen

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Ladder", "NestedTest", "Rung", "RungName", "ladder"]

RungName = Literal["between", "pooled", "intercepts", "slopes", "mixed"]

SHOWN = (
    "n", "p", "rss", "df", "sigma", "centred", "r2", "adj_r2", "r2_uncentred", "adj_r2_uncentred",
    "note",
)  # fmt: skip
"""Columns of a ladder's table."""


@dataclass(frozen=True, eq=False)
class Rung:
    """One regression.

    columns, estimate, se : coefficients that all groups share; NaN where the rung cannot tell
    group_columns, group_estimate, group_se : (J, m) coefficients of each group by itself
    n, p : rows (groups, where groups are averaged) and free coefficients
    rss, df, sigma : residual sum of squares, degrees of freedom, residual standard deviation
    r2, adj_r2 : centred (against the mean of the response) where `centred`, which says that a
        constant is among the combinations of the columns; against zero otherwise
    r2_uncentred, adj_r2_uncentred : against zero, which R prints for a formula with `- 1`; larger,
        and not to be compared with a centred one
    note : what has to be known to read the rung; may be empty

    The mixed rung's rss is that of the conditional residuals, y - X beta - Z b. Its effects are
    shrunk and use less than one degree of freedom each, so df and the adjusted R2 are NaN.
    """

    name: RungName
    columns: tuple[str, ...]
    estimate: FloatArray
    se: FloatArray
    group_columns: tuple[str, ...]
    group_estimate: FloatArray
    group_se: FloatArray
    n: int
    p: int
    rss: float
    df: float
    sigma: float
    centred: bool
    r2: float
    adj_r2: float
    r2_uncentred: float
    adj_r2_uncentred: float
    note: str


@dataclass(frozen=True, slots=True)
class NestedTest:
    """F test of the smaller of two nested rungs against the larger; NaN where no df is left.

    Where the residual standard deviations are known it is a chi-square test: F is the chi-square
    over df1, and df2 infinite.
    """

    smaller: RungName
    larger: RungName
    F: float
    df1: int
    df2: float
    p: float


@dataclass(frozen=True, eq=False)
class Ladder:
    """The rungs in order, and the F tests of those that are nested.

    `between` is nested in none of the others, having other rows; of the mixed model, variances are
    tested, not coefficients.
    """

    group: str
    labels: tuple[str, ...]
    rungs: tuple[Rung, ...]
    tests: tuple[NestedTest, ...]

    def __getitem__(self, name: RungName) -> Rung:
        for rung in self.rungs:
            if rung.name == name:
                return rung
        names = [rung.name for rung in self.rungs]
        raise InputErrors.one(
            f"{name!r} is not a rung{nearest(name, names)} (rungs: {', '.join(names)})", key="name"
        )

    def frame(self) -> "pd.DataFrame":
        """One row a rung: n, p, rss, df, sigma, and R2 of both kinds."""
        import pandas as pd

        return pd.DataFrame(
            [{key: getattr(rung, key) for key in SHOWN} for rung in self.rungs],
            index=pd.Index([rung.name for rung in self.rungs], name="rung"),
        )

    def coefficients(self) -> "pd.DataFrame":
        """Estimates and standard errors of the coefficients that all groups share, by rung."""
        import pandas as pd

        rows = [
            {"rung": rung.name, "coefficient": name, "estimate": estimate, "se": se}
            for rung in self.rungs
            for name, estimate, se in zip(rung.columns, rung.estimate, rung.se, strict=True)
        ]
        return pd.DataFrame(rows, columns=["rung", "coefficient", "estimate", "se"])

    def group_coefficients(self, name: RungName) -> "pd.DataFrame":
        """Estimates of the coefficients that a rung has for each group, one row a group."""
        import pandas as pd

        rung = self[name]
        return pd.DataFrame(
            rung.group_estimate,
            index=pd.Index(self.labels, name=self.group),
            columns=list(rung.group_columns),
        )


def ladder(
    model: ModelSpec | PointFit, group: str | None = None, *, progress: Progress = silent
) -> Ladder:
    """The model's regressions, from the simplest to the mixed one.

    `between` (on group means, every group counting the same), `pooled` (ignoring groups),
    `intercepts` (one a group), `slopes` (intercept and slopes of each group), `mixed`. Weights
    and offset of the model count in all of them, and so do known residual standard deviations, in
    all but the first.

    Parameters
    ----------
    model : a fit, whose estimates are the mixed rung; or a model, which is then fitted by REML
    group : a grouping factor of the model; may be left out where it has one

    Raises
    ------
    InputErrors
        the model has no such grouping factor, has several and none is named, or is neither a built
        model nor a point fit.
    RefusalError, FitError
        a model was given that REML cannot fit.
    """
    if not isinstance(model, ModelSpec | PointFit):
        raise InputErrors.one("give a model that is built, hlm.build(...), or a REML or ML fit")
    spec = model if isinstance(model, ModelSpec) else model.spec
    block = find_block(spec.design, group)
    if isinstance(model, ModelSpec):
        fit = require("reml", spec).fit(spec, spec.fit, progress)
        assert isinstance(fit, PointFit)
    else:
        fit = model
    rows = rows_of(spec.design, block)
    pooled = _alike("pooled", rows, rows.X, rows.y, rows.weights, sigma=rows.sigma)
    intercepts, slopes = _intercepts(rows), _slopes(rows)
    pairs = ((pooled, intercepts), (intercepts, slopes), (pooled, slopes))
    return Ladder(
        group=block.group,
        labels=block.labels,
        rungs=(_between(rows), pooled, intercepts, slopes, _mixed(rows, fit, pooled.centred)),
        tests=tuple(_nested(*pair, known=rows.sigma is not None) for pair in pairs),
    )


def _between(rows: GroupedRows) -> Rung:
    means, _ = group_means(np.column_stack([rows.X, rows.y]), rows.weights, rows.level, rows.J)
    return _alike(
        "between",
        rows,
        means[:, :-1],
        means[:, -1],
        np.ones(rows.J),
        note=f"means over {rows.group}, each counting the same",
    )


def _alike(
    name: RungName,
    rows: GroupedRows,
    X: FloatArray,
    y: FloatArray,
    weights: FloatArray,
    note: str = "",
    sigma: float | None = None,
) -> Rung:
    """One regression for all rows."""
    root, one = np.sqrt(weights), np.zeros(len(y), dtype=np.int64)
    X = X * root[:, None]
    found = group_least_squares(X, y * root, one, 1)
    constant = group_least_squares(X, root, one, 1)
    p = int(found.rank[0])
    left_out = _listed("a combination of the others", rows.coef, found.estimable[0])
    return _rung(
        name,
        y,
        weights,
        rss=float(found.rss[0]),
        p=p,
        df=len(y) - p,
        centred=bool(constant.rss[0] <= ALIASED**2 * weights.sum()),
        common=_Estimates(rows.coef, found.estimate[0], found.variance[0]),
        groups=_no_groups(rows.J),
        note="; ".join(filter(None, (note, left_out))),
        sigma=sigma,
    )


def _intercepts(rows: GroupedRows) -> Rung:
    """An intercept a group and common slopes, by sweeping the group means out."""
    X, names = _slope_columns(rows)
    means, total = group_means(np.column_stack([X, rows.y]), rows.weights, rows.level, rows.J)
    within = (np.column_stack([X, rows.y]) - means[rows.level]) * rows.root[:, None]
    found = group_least_squares(
        within[:, :-1],
        within[:, -1],
        np.zeros(len(rows.y), dtype=np.int64),
        1,
        squares=(rows.weights @ np.square(X))[None],
    )
    centres, factor = means[:, :-1], found.factor[0]
    p = rows.J + int(found.rank[0])
    return _rung(
        "intercepts",
        rows.y,
        rows.weights,
        rss=float(found.rss[0]),
        p=p,
        df=len(rows.y) - p,
        common=_Estimates(names, found.estimate[0], found.variance[0]),
        groups=_Estimates(
            ("Intercept",),
            (means[:, -1] - centres @ np.nan_to_num(found.estimate[0]))[:, None],
            (1 / total + np.square(centres @ factor).sum(axis=1))[:, None],
        ),
        note=_listed(
            f"not to be told from the intercepts of {rows.group}", names, found.estimable[0]
        ),
        sigma=rows.sigma,
    )


def _slopes(rows: GroupedRows) -> Rung:
    """All coefficients in each group by itself, with one residual variance."""
    X, names = _slope_columns(rows)
    columns, names = np.column_stack([np.ones(len(X)), X]), ("Intercept", *names)
    found = group_least_squares(
        columns * rows.root[:, None], rows.y * rows.root, rows.level, rows.J
    )
    kept = found.estimable.any(axis=0)
    some = int(np.sum(found.rank < kept.sum()))
    notes = (
        _listed(f"constant within {rows.group}", names, kept),
        f"{some} of {rows.J} groups have rows too few or too alike for all coefficients"
        if some
        else "",
    )
    p = int(found.rank.sum())
    return _rung(
        "slopes",
        rows.y,
        rows.weights,
        rss=float(found.rss.sum()),
        p=p,
        df=len(rows.y) - p,
        common=_Estimates((), np.zeros(0), np.zeros(0)),
        groups=_Estimates(
            tuple(name for name, here in zip(names, kept, strict=True) if here),
            found.estimate[:, kept],
            found.variance[:, kept],
        ),
        note="; ".join(filter(None, notes)),
        sigma=rows.sigma,
    )


def _mixed(rows: GroupedRows, fit: PointFit, centred: bool) -> Rung:
    fitted = rows.X @ fit.beta
    for block, estimate in zip(fit.spec.blocks, fit.random, strict=True):
        fitted += np.einsum("nq,nq->n", block.z, estimate.b[block.level])
    return _rung(
        "mixed",
        rows.y,
        rows.weights,
        rss=float(rows.weights @ np.square(rows.y - fitted)),
        p=len(fit.beta),
        df=math.nan,
        sigma=fit.sigma,
        centred=centred,
        common=_Estimates(rows.coef, fit.beta, np.diag(fit.vcov_beta) / fit.sigma**2),
        groups=_no_groups(rows.J),
        note=f"{fit.engine}; residuals given the effects, which are shrunk: no df",
    )


@dataclass(frozen=True)
class _Estimates:
    """Coefficients with their variances over sigma^2."""

    columns: tuple[str, ...]
    estimate: FloatArray
    variance: FloatArray


def _rung(
    name: RungName,
    y: FloatArray,
    weights: FloatArray,
    *,
    common: _Estimates,
    groups: _Estimates,
    rss: float,
    p: int,
    df: float,
    note: str,
    sigma: float | None = None,
    centred: bool = True,
) -> Rung:
    """A rung with R2 of both kinds, and standard errors."""
    n = len(y)
    if sigma is None:
        sigma = math.sqrt(rss / df) if df > 0 else math.nan
    centre = float(np.average(y, weights=weights))
    against_mean, adjusted_mean = _r2(rss, float(weights @ np.square(y - centre)), n - 1, df)
    against_zero, adjusted_zero = _r2(rss, float(weights @ np.square(y)), n, df)
    return Rung(
        name=name,
        columns=common.columns,
        estimate=frozen(common.estimate),
        se=frozen(sigma * np.sqrt(common.variance)),
        group_columns=groups.columns,
        group_estimate=frozen(groups.estimate),
        group_se=frozen(sigma * np.sqrt(groups.variance)),
        n=n,
        p=p,
        rss=rss,
        df=df,
        sigma=sigma,
        centred=centred,
        r2=against_mean if centred else against_zero,
        adj_r2=adjusted_mean if centred else adjusted_zero,
        r2_uncentred=against_zero,
        adj_r2_uncentred=adjusted_zero,
        note=note,
    )


def _r2(rss: float, total: float, total_df: int, df: float) -> tuple[float, float]:
    """R2 and adjusted R2 against a total sum of squares."""
    if not total > 0:
        return math.nan, math.nan
    adjusted = 1 - rss / total * total_df / df if df != 0 else math.nan
    return 1 - rss / total, adjusted


def _slope_columns(rows: GroupedRows) -> tuple[FloatArray, tuple[str, ...]]:
    """The columns of X but the intercept, and their names."""
    at = [k for k, name in enumerate(rows.coef) if name != "Intercept"]
    return rows.X[:, at], tuple(rows.coef[k] for k in at)


def _no_groups(J: int) -> _Estimates:
    return _Estimates((), np.zeros((J, 0)), np.zeros((J, 0)))


def _listed(why: str, names: Sequence[str], kept: BoolArray) -> str:
    out = [name for name, here in zip(names, kept, strict=True) if not here]
    return f"left out, {why}: {', '.join(out)}" if out else ""


def _nested(smaller: Rung, larger: Rung, *, known: bool) -> NestedTest:
    from scipy.special import chdtrc, fdtrc

    df1, df2 = larger.p - smaller.p, math.inf if known else larger.df
    F = p = math.nan
    if known and df1 > 0:
        F = (smaller.rss - larger.rss) / df1
        p = float(chdtrc(df1, smaller.rss - larger.rss))
    elif df1 > 0 and df2 > 0 and larger.rss > 0:
        F = (smaller.rss - larger.rss) / df1 / (larger.rss / df2)
        p = float(fdtrc(df1, df2, F))
    return NestedTest(smaller.name, larger.name, F, df1, df2, p)
