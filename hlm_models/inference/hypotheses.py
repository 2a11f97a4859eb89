"""Tests of linear hypotheses about the coefficients of a point fit."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from hlm_models.inference.approximation import Approximation, Method, approximation
from hlm_models.inference.f_tests import FTest
from hlm_models.inference.restrictions import Hypotheses, restrictions
from hlm_models.results.fits import PointFit
from hlm_models.types import FloatArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "CoefficientTests",
    "HypothesisTest",
    "TRow",
    "coefficient_tests",
    "hypothesis",
    "t_rows",
]


@dataclass(frozen=True, slots=True)
class TRow:
    """Test of one linear combination: t = (estimate - rhs) / se; the interval is 95%."""

    name: str
    estimate: float
    rhs: float
    se: float
    df: float
    t: float
    p: float
    lower: float
    upper: float


@dataclass(frozen=True)
class HypothesisTest:
    """Each hypothesis by itself, and all of them jointly."""

    method: Method
    rows: tuple[TRow, ...]
    joint: FTest

    def frame(self) -> "pd.DataFrame":
        """One row a hypothesis: estimate, rhs, se, df, t, p, lower, upper."""
        return _frame(self.rows, "hypothesis")


@dataclass(frozen=True)
class CoefficientTests:
    """Test of each coefficient against zero."""

    method: Method
    rows: tuple[TRow, ...]

    def frame(self) -> "pd.DataFrame":
        """One row a coefficient: estimate, se, df, t, p, lower, upper."""
        return _frame(self.rows, "coefficient").drop(columns="rhs")


def hypothesis(
    fit: PointFit,
    L: Hypotheses,
    rhs: float | Sequence[float] | FloatArray = 0.0,
    *,
    df: Method = "satterthwaite",
) -> HypothesisTest:
    """Tests of L beta = rhs, row by row (t) and jointly (F).

    Parameters
    ----------
    L : "days = 10", {"ses": 1, "hwh": -1}, several of either, or a matrix (r, p)
    rhs : what mappings and rows of a matrix are held against
    df : degrees of freedom by "satterthwaite" or, of a REML fit, by "kenward-roger"

    Raises
    ------
    InputErrors
        a name that is no coefficient, a text that cannot be read, numbers that are not finite,
        hypotheses in contradiction.
    RefusalError
        what Kenward and Roger's method cannot do.

    Examples
    --------
    >>> import hlm_models as hlm
    >>> fit = hlm.fit("sleepstudy-slopes", engine="reml")
    >>> test = hlm.hypothesis(fit, ["Intercept = 250", "days = 10"], df="kenward-roger")
    >>> round(test.joint.den_df, 6), round(test.joint.F, 4)
    (16.0, 0.0724)
    """
    found = approximation(fit, df)
    asked = restrictions(L, rhs, fit.spec.design.coef)
    distance = asked.L @ fit.beta - asked.rhs
    return HypothesisTest(
        method=df,
        joint=found.joint(asked.L, distance),
        rows=t_rows(found, asked.L, asked.L @ fit.beta, asked.rhs, asked.texts),
    )


def coefficient_tests(fit: PointFit, *, df: Method = "satterthwaite") -> CoefficientTests:
    """Each coefficient against zero.

    Parameters
    ----------
    df : degrees of freedom by "satterthwaite" or, of a REML fit, by "kenward-roger"

    Raises
    ------
    InputErrors
        there is no such method, or no fit is given.
    RefusalError
        the fit is a posterior, or what Kenward and Roger's method cannot do.
    """
    found, p = approximation(fit, df), fit.spec.design.p
    rows = t_rows(found, np.eye(p), fit.beta, np.zeros(p), fit.spec.design.coef)
    return CoefficientTests(df, rows)


def t_rows(
    found: Approximation,
    L: FloatArray,
    estimate: FloatArray,
    rhs: FloatArray,
    names: Sequence[str],
) -> tuple[TRow, ...]:
    """The t test of each row of L (r, p), whose estimates (r,) are held against rhs (r,)."""
    from scipy.special import stdtr, stdtrit

    variance, df = found.rows(L)
    se = np.sqrt(variance)
    t = (estimate - rhs) / se
    half = stdtrit(df, 0.975) * se
    columns = (
        estimate,
        rhs,
        se,
        df,
        t,
        2 * stdtr(df, -np.abs(t)),
        estimate - half,
        estimate + half,
    )
    return tuple(
        TRow(name, *map(float, values)) for name, *values in zip(names, *columns, strict=True)
    )


def _frame(rows: Sequence[TRow], name: str) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame([asdict(row) for row in rows]).set_index("name").rename_axis(name)
