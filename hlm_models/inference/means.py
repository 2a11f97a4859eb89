"""Estimated marginal means: the fixed part over a grid of predictors, and differences of them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations, product
from typing import TYPE_CHECKING, Literal

import numpy as np

from hlm_models.errors import InputErrors, nearest
from hlm_models.inference.approximation import Approximation, Method, approximation
from hlm_models.inference.grid import Value, grid_table, reference_grid
from hlm_models.inference.hypotheses import TRow, t_rows
from hlm_models.results.fits import PointFit
from hlm_models.types import FloatArray, frozen

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Adjustment", "Differences", "MarginalMeans", "marginal_means"]

Adjustment = Literal["tukey", "holm", "bonferroni", "none"]

ADJUSTMENTS: tuple[Adjustment, ...] = ("tukey", "holm", "bonferroni", "none")


@dataclass(frozen=True)
class Differences:
    """Differences of all pairs of means, within each combination of `by`; p is adjusted."""

    adjust: Adjustment
    rows: tuple[TRow, ...]

    def frame(self) -> "pd.DataFrame":
        """One row a pair: estimate, se, df, t, p, lower, upper."""
        import pandas as pd

        found = pd.DataFrame([asdict(row) for row in self.rows])
        return found.drop(columns="rhs").set_index("name").rename_axis("difference")


@dataclass(frozen=True, eq=False)
class MarginalMeans:
    """Means of the fixed part at each combination of the factors asked for.

    `cells` says the combination of each mean, L (means, p) how it is made of the coefficients.
    """

    method: Method
    factors: tuple[str, ...]
    by: tuple[str, ...]
    cells: tuple[tuple[Value, ...], ...]
    rows: tuple[TRow, ...]
    L: FloatArray
    beta: FloatArray
    found: Approximation

    def frame(self) -> "pd.DataFrame":
        """One row a mean: the combination, then mean, se, df, lower, upper."""
        import pandas as pd

        keys = pd.DataFrame(list(self.cells), columns=[*self.factors, *self.by])
        values = pd.DataFrame([asdict(row) for row in self.rows]).rename(
            columns={"estimate": "mean"}
        )
        return keys.join(values[["mean", "se", "df", "lower", "upper"]])

    def differences(self, adjust: Adjustment = "tukey") -> Differences:
        """Differences of all pairs of means, the earlier less the later, within each cell of `by`.

        Parameters
        ----------
        adjust : of the p values and intervals of one family, the pairs within one combination of
            `by`: "tukey" (of all pairs), "bonferroni", "holm" (intervals by Bonferroni) or "none"

        Source: Tukey and Kramer's studentized range; Holm (1979), A simple sequentially rejective
        multiple test procedure.
        """
        if adjust not in ADJUSTMENTS:
            raise InputErrors.one(
                f"'{adjust}' is no adjustment{nearest(adjust, ADJUSTMENTS)} "
                f"(adjustments: {', '.join(ADJUSTMENTS)})",
                key="adjust",
            )
        split = len(self.factors)
        families: dict[tuple[Value, ...], list[int]] = {}
        for i, cell in enumerate(self.cells):
            families.setdefault(cell[split:], []).append(i)
        rows: list[TRow] = []
        for where, members in families.items():
            if len(members) < 2:
                raise InputErrors.one("one mean has nothing to differ from; ask for more of them")
            pairs = list(combinations(members, 2))
            L = np.array([self.L[i] - self.L[j] for i, j in pairs])
            names = [
                f"{_named(self.cells[i][:split])} - {_named(self.cells[j][:split])}"
                + (f" | {_named(where)}" if where else "")
                for i, j in pairs
            ]
            plain = t_rows(self.found, L, L @ self.beta, np.zeros(len(L)), names)
            rows += _adjusted(plain, adjust, means=len(members))
        return Differences(adjust, tuple(rows))


def marginal_means(
    fit: PointFit,
    factors: str | Sequence[str],
    *,
    by: str | Sequence[str] = (),
    at: Mapping[str, Value | Sequence[Value]] | None = None,
    df: Method = "satterthwaite",
) -> MarginalMeans:
    """Means of the response over a grid of predictors, for a new level of every group (b = 0).

    Other factors are averaged with equal weights for their levels; numbers are held at their means
    over the rows, the offset too.

    Parameters
    ----------
    factors : predictors whose combinations get a mean each: factors, or numbers with values in `at`
    by : further ones, within whose combinations differences are taken
    at : values of predictors to take in place of all levels or of the mean
    df : degrees of freedom by "satterthwaite" or, of a REML fit, by "kenward-roger"

    Raises
    ------
    InputErrors
        a name that is no predictor, a level that the factor does not have, a value that stands
        twice, a number without values.

    Source: Searle, Speed and Milliken (1980), doi:10.1080/00031305.1980.10483031; the R package
    emmeans, which takes numbers with two values for factors where this takes their mean.

    Examples
    --------
    >>> import hlm_models as hlm
    >>> fit = hlm.fit("orthodont-growth", engine="reml")
    >>> means = hlm.marginal_means(fit, "age", at={"age": [8, 14]})
    """
    found = approximation(fit, df)
    design = fit.spec.design
    asked = _listed(factors, "factors")
    within = _listed(by, "by")
    if at is not None and not isinstance(at, Mapping):
        raise InputErrors.one(
            f"values are given by predictor, as at={{'x': [1, 2]}}, not as {at!r}", key="at"
        )
    grid = reference_grid(design, (*asked, *within), at or {})
    cells = tuple(product(*(grid[name] for name in (*asked, *within))))
    rest = [name for name in grid if name not in asked and name not in within]
    points = [
        dict(zip((*asked, *within, *rest), point, strict=True))
        for point in product(*(grid[name] for name in (*asked, *within, *rest)))
    ]
    X = design.encoding.apply(grid_table(design, points))
    each = len(points) // len(cells)
    L = X.reshape(len(cells), each, -1).mean(axis=1)
    mean = L @ fit.beta
    if design.offset_column is not None:
        added = np.array([float(point[design.offset_column]) for point in points])
        mean = mean + added.reshape(len(cells), each).mean(axis=1)
    rows = t_rows(found, L, mean, np.zeros(len(L)), [_named(cell) for cell in cells])
    return MarginalMeans(df, asked, within, cells, rows, frozen(L), fit.beta, found)


def _listed(names: str | Sequence[str], key: str) -> tuple[str, ...]:
    found = (names,) if isinstance(names, str) or not np.iterable(names) else tuple(names)
    if not all(isinstance(name, str) for name in found):
        raise InputErrors.one(f"give the names of predictors, not {names!r}", key=key)
    return found


def _named(cell: Sequence[Value]) -> str:
    return ", ".join(f"{value:g}" if isinstance(value, float) else value for value in cell)


def _adjusted(rows: Sequence[TRow], adjust: Adjustment, *, means: int) -> list[TRow]:
    """One family of differences with p values and 95% intervals that hold for all of it."""
    from scipy.special import stdtrit
    from scipy.stats import studentized_range

    m = len(rows)
    p, df = np.array([row.p for row in rows]), np.array([row.df for row in rows])
    reach = np.asarray(stdtrit(df, 1 - 0.025 / (1 if adjust == "none" else m)))
    if adjust == "tukey":
        t = np.abs([row.t for row in rows])
        p = np.clip(studentized_range.sf(math.sqrt(2) * t, means, df), 0.0, 1.0)
        # The quantile is slow: df that are one but for rounding share it.
        each, place = np.unique(np.round(df, 5), return_inverse=True)
        reach = np.asarray(studentized_range.ppf(0.95, means, each))[place] / math.sqrt(2)
    elif adjust == "bonferroni":
        p = np.minimum(p * m, 1.0)
    elif adjust == "holm":
        ascending = np.argsort(p)
        grown = np.maximum.accumulate(p[ascending] * np.arange(m, 0, -1))
        p[ascending] = np.minimum(grown, 1.0)
    half = reach * [row.se for row in rows]
    return [
        replace(row, p=float(one), lower=row.estimate - float(h), upper=row.estimate + float(h))
        for row, one, h in zip(rows, p, half, strict=True)
    ]
