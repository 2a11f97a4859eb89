"""Parts of a point fit as tables and vectors, under the names that lme4 gives them."""

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from hlm_models.design.find_block import find_block
from hlm_models.errors import InputErrors
from hlm_models.results.fits import PointFit
from hlm_models.results.point_only import point_only
from hlm_models.results.summary import free_correlations
from hlm_models.spec.density import Point, linear_predictor, residual_scale
from hlm_models.types import FloatArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Level",
    "coef",
    "estimated",
    "fitted",
    "fixef",
    "ranef",
    "residuals",
    "varcorr",
    "vcov",
]

Level = Literal["conditional", "population"]
"""With the groups' own effects, or at b = 0."""


def fixef(fit: PointFit) -> "pd.Series[float]":
    """Estimates of the coefficients, by name."""
    import pandas as pd

    fit = point_only(fit, "fixef")
    return pd.Series(fit.beta, index=_coef(fit), name="estimate")


def vcov(fit: PointFit) -> "pd.DataFrame":
    """Covariance matrix of the estimated coefficients (p, p)."""
    import pandas as pd

    fit = point_only(fit, "vcov")
    return pd.DataFrame(fit.vcov_beta, index=_coef(fit), columns=_coef(fit))


def ranef(fit: PointFit) -> "pd.DataFrame":
    """Conditional means of the random effects, one row an effect of a level.

    Columns group, effect, level, b and sd, the conditional standard deviation given theta and
    beta, as `as.data.frame(ranef(fit))` of lme4 has it. Of a model without groups it is empty.
    """
    import pandas as pd

    fit = point_only(fit, "ranef")
    parts = []
    for estimate, block in zip(fit.random, fit.spec.blocks, strict=True):
        sd = np.sqrt(np.diagonal(estimate.b_cov, axis1=1, axis2=2))
        parts.append(
            pd.DataFrame(
                {
                    "group": estimate.group,
                    "effect": np.repeat(estimate.columns, block.J),
                    "level": np.tile(block.labels, block.q),
                    "b": estimate.b.T.ravel(),
                    "sd": sd.T.ravel(),
                }
            )
        )
    columns = ["group", "effect", "level", "b", "sd"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def coef(fit: PointFit, group: str | None = None) -> "pd.DataFrame":
    """Coefficients of each level of one group: beta plus the level's b.

    Random effects without a fixed one stand at the end, with beta = 0. Effects of other groups are
    not in it.

    Parameters
    ----------
    group : may be left out where the model has one

    Raises
    ------
    InputErrors
        there is no such group, or there are several and none is named.
    """
    import pandas as pd

    fit = point_only(fit, "coef")
    block = find_block(fit.spec.design, group)
    [estimate] = [one for one in fit.random if one.group == block.group]
    names = list(dict.fromkeys([*fit.spec.design.coef, *estimate.columns]))
    found = np.zeros((block.J, len(names)))
    found[:, : len(fit.beta)] = fit.beta
    found[:, [names.index(effect) for effect in estimate.columns]] += estimate.b
    return pd.DataFrame(found, index=pd.Index(block.labels, name=block.group), columns=names)


def varcorr(fit: PointFit) -> "pd.DataFrame":
    """Variances and covariances of the random effects, then the residual variance.

    Columns group, effect1, effect2 (missing for a variance), vcov, and sdcor: the standard
    deviation or the correlation. The rows are those of `as.data.frame(VarCorr(fit))` of lme4;
    correlations that the formula fixes at zero have none. Of known residual standard deviations
    the last row has the group "Residual (known)", their column as effect1, and no number: each row
    of the data has its own.
    """
    import pandas as pd

    fit = point_only(fit, "varcorr")
    rows: list[tuple[str, str | None, str | None, float, float]] = []
    for estimate, block in zip(fit.random, fit.spec.blocks, strict=True):
        names = estimate.columns
        rows += [
            (block.group, name, None, float(estimate.cov[k, k]), float(estimate.sd[k]))
            for k, name in enumerate(names)
        ]
        rows += [
            (block.group, names[j], names[i], float(estimate.cov[i, j]), float(estimate.corr[i, j]))
            for j, i in sorted((j, i) for i, j in free_correlations(block))
        ]
    known = fit.spec.design.known_sd_column
    if known is None:
        rows.append(("Residual", None, None, fit.sigma**2, fit.sigma))
    else:
        rows.append(("Residual (known)", known, None, np.nan, np.nan))
    found = pd.DataFrame(rows, columns=["group", "effect1", "effect2", "vcov", "sdcor"])
    # Left to itself, pandas makes a column without any text one of objects.
    return found.astype({"effect1": "str", "effect2": "str"})


def fitted(fit: PointFit, level: Level = "conditional") -> FloatArray:
    """Fitted values (n,) of the rows of the model, the offset included.

    Parameters
    ----------
    level : "conditional" X beta + Z b, or "population" X beta
    """
    fit = point_only(fit, "fitted")
    if level not in ("conditional", "population"):
        raise InputErrors.one(f"level is conditional or population, not {level!r}", key="level")
    point = estimated(fit)
    if level == "population":
        point = replace(point, b=tuple(np.zeros_like(b) for b in point.b))
    return linear_predictor(fit.spec, point)


def residuals(
    fit: PointFit,
    kind: Literal["raw", "pearson", "scaled"] = "raw",
    level: Level = "conditional",
) -> FloatArray:
    """Residuals (n,) of the rows of the model.

    Parameters
    ----------
    kind : "raw" y less the fitted values; "pearson" times the roots of the weights; "scaled" over
        the residual standard deviation of each row too, as the summary of lme4 prints them. Where
        that is known, its inverse is the root of the weight, and the two are the same
    level : which fitted values, as of `fitted`
    """
    fit = point_only(fit, "residuals")
    raw = fit.spec.design.y - fitted(fit, level)
    roots = fit.spec.design.root_weights
    if kind == "raw":
        return raw
    if kind == "pearson":
        return raw if roots is None else raw * roots
    if kind == "scaled":
        return np.asarray(raw / residual_scale(fit.spec, fit.sigma))
    raise InputErrors.one(f"kind is raw, pearson or scaled, not {kind!r}", key="kind")


def estimated(fit: PointFit) -> Point:
    """All unknowns at their estimates, b at its conditional mean."""

    def each(value: str) -> tuple[FloatArray, ...]:
        return tuple(getattr(estimate, value) for estimate in fit.random)

    return Point(fit.beta, fit.sigma, sd=each("sd"), corr=each("corr"), b=each("b"))


def _coef(fit: PointFit) -> list[str]:
    return list(fit.spec.design.coef)
