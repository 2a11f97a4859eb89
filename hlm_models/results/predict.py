"""Predictions with the joint uncertainty of beta and b, and where it comes from."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from hlm_models.errors import InputErrors, nearest
from hlm_models.results.arguments import checked_level
from hlm_models.results.extract import estimated
from hlm_models.results.fits import PointFit
from hlm_models.results.point_only import point_only
from hlm_models.results.rows import Rows, model_rows, read_rows
from hlm_models.types import FloatArray, frozen

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Groups", "Prediction", "phi", "predict"]

Groups = Literal["existing", "population", "typical", "borrowed"]
"""Whose effects a row has: its own group's, none, those of a random new group, another group's."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """Predicted responses of m rows.

    mean (m,), and the variance of its error in parts (m,) each: `var_parameter` comes of not
    knowing beta, `var_group` is what is left of b where beta is known, `var_residual` is that of
    one new observation around the mean. `df` and `pred_df` (m,) are Satterthwaite's degrees of
    freedom of the mean's variance and of a new observation's; `level` is that of the intervals.
    """

    mean: FloatArray
    var_parameter: FloatArray
    var_group: FloatArray
    var_residual: FloatArray
    df: FloatArray
    pred_df: FloatArray
    level: float
    index: "pd.Index"

    @property
    def se(self) -> FloatArray:
        """Standard error of the mean (m,): beta and b, not the residual."""
        return np.sqrt(self.var_parameter + self.var_group)

    def frame(self) -> "pd.DataFrame":
        """Columns mean, se, lower, upper, pred_lower, pred_upper and the parts of the variance.

        lower and upper enclose the mean, pred_lower and pred_upper a new observation.
        """
        import pandas as pd
        from scipy.special import stdtrit

        tail = (1 + self.level) / 2
        half = stdtrit(self.df, tail) * self.se
        wide = stdtrit(self.pred_df, tail) * np.sqrt(self.se**2 + self.var_residual)
        return pd.DataFrame(
            {
                "mean": self.mean,
                "se": self.se,
                "lower": self.mean - half,
                "upper": self.mean + half,
                "pred_lower": self.mean - wide,
                "pred_upper": self.mean + wide,
                "var_parameter": self.var_parameter,
                "var_group": self.var_group,
                "var_residual": self.var_residual,
            },
            index=self.index,
        )


def predict(
    fit: PointFit,
    new_data: "pd.DataFrame | None" = None,
    *,
    groups: Groups | Mapping[str, Groups] = "existing",
    borrow: str | Mapping[str, str] | None = None,
    level: float = 0.95,
) -> Prediction:
    """Predicted responses, on the scale that the formula has the response on.

    Parameters
    ----------
    new_data : rows with the predictors, and what else the model reads of them: groups, offset,
        weights; without it the rows of the model
    groups : one for all groups of the model, or one for each by name. "existing" takes the effects
        of the row's own level, which the model must have; "population" takes b = 0; "typical" a
        level of which nothing is known, b ~ N(0, Psi); "borrowed" those of the level `borrow`
    borrow : level whose effects the rows have; by group where several are borrowed
    level : of the intervals

    Raises
    ------
    InputErrors
        columns that are missing or hold what cannot be used, labels and levels that the model has
        not seen; each with its column, row and repair.

    Source: Henderson (1975), doi:10.2307/2529430, for the joint variance of beta and b.
    """
    fit = point_only(fit, "predict")
    level = checked_level(level)
    kinds = _kinds(fit, groups)
    lent = _lent(fit, kinds, borrow)
    if new_data is None:
        rows = model_rows(fit.spec)
    else:
        rows = read_rows(
            fit.spec,
            new_data,
            effects=[group for group, kind in kinds.items() if kind != "population"],
            levels=[group for group, kind in kinds.items() if kind == "existing"],
        )
    at = tuple(
        found if kind == "existing" else np.full(rows.m, lent.get(group, -1))
        for (group, kind), found in zip(kinds.items(), rows.level, strict=True)
    )
    rows = replace(rows, level=at)
    typical = tuple(kind == "typical" for kind in kinds.values())
    mean = rows.x @ fit.beta + rows.offset
    for z, b, where in zip(rows.z, estimated(fit).b, rows.level, strict=True):
        mean += np.where(where >= 0, np.einsum("mq,mq->m", z, b[where]), 0.0)
    parts = _parts(fit, rows, typical, phi(fit))
    slopes = _slopes(fit, rows, typical, parts)
    return Prediction(
        mean=frozen(mean),
        var_parameter=frozen(parts[0]),
        var_group=frozen(parts[1]),
        var_residual=frozen(parts[2]),
        df=frozen(_satterthwaite(fit, parts[:2].sum(axis=0), slopes[:, :2].sum(axis=1))),
        pred_df=frozen(_satterthwaite(fit, parts.sum(axis=0), slopes.sum(axis=1))),
        level=level,
        index=rows.index,
    )


def phi(fit: PointFit) -> FloatArray:
    """The variance parameters that `vcov_phi` is the covariance of: theta scaled, log sigma."""
    return np.append(fit.spec.marginal.scaled_theta(fit.theta), np.log(fit.sigma))


def _parts(fit: PointFit, rows: Rows, typical: tuple[bool, ...], at: FloatArray) -> FloatArray:
    """Variance by parameter, group and residual (3, m) at phi = `at`."""
    marginal, sigma = fit.spec.marginal, float(np.exp(at[-1]))
    by_beta, by_b = marginal.prediction_variance(at[:-1], sigma, rows.x, rows.z, rows.level)
    for index, (new, z) in enumerate(zip(typical, rows.z, strict=True)):
        if new:
            by_b = by_b + sigma**2 * np.square(z @ marginal.raw_factor(index, at[:-1])).sum(axis=1)
    return np.stack([by_beta, by_b, fit.spec.residual.scale(sigma) ** 2 / rows.weights])


def _slopes(fit: PointFit, rows: Rows, typical: tuple[bool, ...], parts: FloatArray) -> FloatArray:
    """Derivatives (length of phi, 3, m) of the parts: central differences in theta."""
    here = phi(fit)
    found = np.empty((len(here), 3, rows.m))
    for i, value in enumerate(here[:-1]):
        up, down = here.copy(), here.copy()
        h = 1e-5 * max(1.0, abs(value))
        up[i] += h
        down[i] -= h
        change = _parts(fit, rows, typical, up) - _parts(fit, rows, typical, down)
        found[i] = change / (up[i] - down[i])
    # At a given theta all variances are proportional to sigma^2; where it is known, vcov_phi is 0.
    found[-1] = 2 * parts
    return found


def _satterthwaite(fit: PointFit, variance: FloatArray, slopes: FloatArray) -> FloatArray:
    """Df = 2 V^2 / Var(V) of each row (m,); infinite where V does not depend on phi."""
    spread = np.einsum("im,ij,jm->m", slopes, fit.vcov_phi, slopes)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(spread > 0, 2 * variance**2 / spread, np.inf)


def _kinds(fit: PointFit, groups: Groups | Mapping[str, Groups]) -> dict[str, Groups]:
    """What is asked of each group, in the order of the blocks."""
    known = [block.group for block in fit.spec.blocks]
    given = groups if isinstance(groups, Mapping) else dict.fromkeys(known, groups)
    for group, kind in given.items():
        if group not in known:
            raise InputErrors.one(
                f"{group!r} is not a group of this model{nearest(group, known)} "
                f"(groups: {', '.join(known)})",
                key="groups",
            )
        if kind not in get_args(Groups):
            raise InputErrors.one(
                f"{kind!r} is none of {', '.join(get_args(Groups))}"
                f"{nearest(str(kind), get_args(Groups))}",
                key="groups",
            )
    missing = [group for group in known if group not in given]
    if missing:
        raise InputErrors.one(f"say what is meant for {', '.join(missing)} too", key="groups")
    return {group: given[group] for group in known}


def _lent(
    fit: PointFit, kinds: Mapping[str, Groups], borrow: str | Mapping[str, str] | None
) -> dict[str, int]:
    """The level that each borrowed group takes."""
    borrowed = [group for group, kind in kinds.items() if kind == "borrowed"]
    if isinstance(borrow, Mapping):
        given = dict(borrow)
    elif borrow is not None and len(borrowed) > 1:
        raise InputErrors.one(
            f"name the level by group, as {{{borrowed[0]!r}: {borrow!r}, ...}}", key="borrow"
        )
    else:
        given = {} if borrow is None else dict.fromkeys(borrowed or ["borrow"], borrow)
    idle = [group for group in given if group not in borrowed]
    if idle:
        raise InputErrors.one(
            "borrow has an effect with groups='borrowed' only; leave it out, or say so",
            key="borrow",
        )
    found = {}
    for block in fit.spec.blocks:
        if block.group not in borrowed:
            continue
        if block.group not in given:
            raise InputErrors.one(
                f"say which level of {block.group} lends its effects, as "
                f"borrow={block.labels[0]!r}",
                key="borrow",
            )
        label = str(given[block.group])
        if label not in block.labels:
            raise InputErrors.one(
                f"{label!r} is not a level of {block.group}{nearest(label, block.labels)}",
                key="borrow",
            )
        found[block.group] = block.labels.index(label)
    return found
