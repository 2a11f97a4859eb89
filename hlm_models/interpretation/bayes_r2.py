"""Bayesian R2: of every draw, the share of its fitted values in the variance it gives the rows."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hlm_models.interpretation.draws import effect_draws, spread_rows, thinned, unknowns
from hlm_models.results.arguments import checked_level
from hlm_models.results.fits import PosteriorFit
from hlm_models.results.point_only import posterior_only
from hlm_models.results.posterior import linear_predictors
from hlm_models.spec.density import residual_scale
from hlm_models.types import FloatArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BayesR2", "bayes_r2"]

WORK = 400_000_000
"""Most fitted values, of all draws together, that are computed."""


@dataclass(frozen=True, eq=False)
class BayesR2:
    """R2 of the draws (chains, draws), those that were taken."""

    draws: FloatArray
    level: float

    def frame(self) -> "pd.DataFrame":
        """One row: mean, sd, lower, upper."""
        import pandas as pd

        rows = spread_rows({"bayes": self.draws}, self.level)
        return pd.DataFrame(rows, index=pd.Index(["bayes"], name="r2"))


def bayes_r2(fit: PosteriorFit, *, level: float = 0.95) -> BayesR2:
    """Variance of the fitted values X beta + Z b over the rows, over that and the residual one.

    It is about the groups of the data, whose effects count with what they are in each draw, and the
    residual variance is the one of the draw. Where rows times draws are very many, the draws are
    thinned evenly.

    Parameters
    ----------
    level : of the interval

    Source: Gelman, Goodrich, Gabry and Vehtari (2019), doi:10.1080/00031305.2018.1549100.
    """
    fit, level = posterior_only(fit, "bayes_r2"), checked_level(level)
    at = thinned(fit, fit.spec.design.n, most=WORK)
    found = unknowns(fit, at=at)
    draws = {"sigma": found.sigma, "beta": found.beta}
    b = effect_draws(fit, at=at)
    draws |= {f"b_{block.group}": one for block, one in zip(fit.spec.blocks, b, strict=True)}
    out = np.empty(found.sigma.shape)
    every = np.arange(out.shape[1])
    offset = fit.spec.design.offset
    for chain, places, eta, _ in linear_predictors(fit.spec, draws, every):
        explained = np.var(eta if offset is None else eta - offset, axis=1, ddof=1)
        scale = residual_scale(fit.spec, found.sigma[chain, every[places], None])
        left = np.mean(np.square(scale), axis=-1)
        out[chain, places] = explained / (explained + left)
    return BayesR2(out, level)
