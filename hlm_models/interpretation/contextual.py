"""Within, between and contextual effects of predictors whose group means the model has."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from hlm_models.errors import InputErrors
from hlm_models.inference.approximation import Method, approximation
from hlm_models.inference.hypotheses import t_rows
from hlm_models.interpretation.draws import spread, unknowns
from hlm_models.results.fits import Fit, PointFit
from hlm_models.results.point_only import any_fit

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ContextualEffect", "ContextualEffects", "contextual_effects"]


@dataclass(frozen=True, slots=True)
class ContextualEffect:
    """One effect: of a point fit its test against zero; of a posterior mean, sd and quantiles.

    Of a posterior df and t are NaN, and p is twice the share of draws on the other side of zero.
    """

    predictor: str
    effect: str
    estimate: float
    se: float
    df: float
    t: float
    p: float
    lower: float
    upper: float


@dataclass(frozen=True)
class ContextualEffects:
    """Of each predictor its within, between and contextual effect; intervals are 95%."""

    rows: tuple[ContextualEffect, ...]

    def frame(self) -> "pd.DataFrame":
        """One row an effect: estimate, se, df, t, p, lower, upper."""
        import pandas as pd

        found = pd.DataFrame([asdict(row) for row in self.rows])
        return found.set_index(["predictor", "effect"])


def contextual_effects(
    fit: Fit, predictors: str | Sequence[str] | None = None, *, df: Method = "satterthwaite"
) -> ContextualEffects:
    """What a predictor does within groups, between them, and the difference: the contextual effect.

    The contextual effect is that of the group's mean among rows with the same value of their own.

    Parameters
    ----------
    predictors : those of `mundlak`; by default all x of which the model has x_between and either
        x_within or x
    df : degrees of freedom of a point fit, by "satterthwaite" or, of REML, by "kenward-roger"

    Raises
    ------
    InputErrors
        the model has no such pair of coefficients.
    RefusalError
        what Kenward and Roger's method cannot do.

    Source: Raudenbush and Bryk (2002), Hierarchical Linear Models, chapter 5.
    """
    fit = any_fit(fit, "contextual_effects")
    coef = fit.spec.design.coef
    pairs = {
        name: first
        for mean in coef
        if (name := mean.removesuffix("_between")) != mean
        for first in (f"{name}_within", name)
        if first in coef
    }
    wanted = [predictors] if isinstance(predictors, str) else predictors
    for name in wanted or ():
        if name not in pairs:
            raise InputErrors.one(
                f"the model has not both {name}_between and {name}_within (or {name}): make it by "
                "hlm.mundlak",
                key="predictors",
            )
    if not pairs:
        raise InputErrors.one(
            "no coefficient is that of a group's mean, x_between, with x_within or x beside it: "
            "make the model by hlm.mundlak",
            key="predictors",
        )
    L, names = [], []
    for name in wanted or pairs:
        first, mean = (
            np.array([float(one == k) for k in coef]) for one in (pairs[name], f"{name}_between")
        )
        between = mean if pairs[name] != name else first + mean
        for effect, row in (
            ("within", first),
            ("between", between),
            ("contextual", between - first),
        ):
            L.append(row)
            names.append((name, effect))
    weights = np.array(L)
    found: list[tuple[float, ...]]
    if isinstance(fit, PointFit):
        tests = t_rows(
            approximation(fit, df), weights, weights @ fit.beta, np.zeros(len(L)), ["" for _ in L]
        )
        found = [
            (one.estimate, one.se, one.df, one.t, one.p, one.lower, one.upper) for one in tests
        ]
    else:
        draws = unknowns(fit).beta @ weights.T
        part, flat = spread(draws, 0.95), draws.reshape(-1, len(L))
        p = 2 * np.minimum(np.mean(flat > 0, axis=0), np.mean(flat < 0, axis=0))
        nothing = np.full(len(L), np.nan)
        columns = (part.mean, part.sd, nothing, nothing, p, part.lower, part.upper)
        found = [tuple(map(float, row)) for row in zip(*columns, strict=True)]
    return ContextualEffects(
        tuple(ContextualEffect(*name, *row) for name, row in zip(names, found, strict=True))
    )
