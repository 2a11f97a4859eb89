"""Effects of every level of a group with their intervals, of either kind of fit."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from hlm_models.design.find_block import find_block
from hlm_models.interpretation.draws import effect_draws, spread, thinned
from hlm_models.results.arguments import checked_level
from hlm_models.results.fits import Fit, PointFit
from hlm_models.results.point_only import any_fit
from hlm_models.types import FloatArray, frozen

__all__ = ["LevelEffects", "level_effects"]

NUMBERS = 10_000_000
"""Most numbers of b that are taken: beyond it the draws are thinned."""


@dataclass(frozen=True, eq=False)
class LevelEffects:
    """Effects b of each level of a group: `estimate`, `lower` and `upper`, (J, q) each.

    Of a posterior the means and quantiles of the draws; of a point fit the conditional means and
    normal intervals of their conditional variances, given theta and beta.
    """

    group: str
    labels: tuple[str, ...]
    effects: tuple[str, ...]
    engine: str
    estimate: FloatArray
    lower: FloatArray
    upper: FloatArray
    level: float


def level_effects(fit: Fit, group: str | None = None, *, level: float = 0.95) -> LevelEffects:
    """The effects of every level of a group.

    Parameters
    ----------
    group : may be left out where the model has one
    level : of the intervals

    Raises
    ------
    InputErrors
        it is no fit; there is no such group, or there are several and none is named.
    """
    fit, level = any_fit(fit, "level_effects"), checked_level(level)
    block = find_block(fit.spec.design, group)
    [at] = [k for k, one in enumerate(fit.spec.blocks) if one.group == block.group]
    if isinstance(fit, PointFit):
        estimate, cov = fit.random[at].b, fit.random[at].b_cov
        half = float(ndtri((1 + level) / 2)) * np.sqrt(
            np.maximum(np.diagonal(cov, axis1=1, axis2=2), 0.0)
        )
        lower, upper = estimate - half, estimate + half
    else:
        numbers = sum(one.J * one.q for one in fit.spec.blocks)
        b = effect_draws(fit, at=thinned(fit, numbers, most=NUMBERS))[at]
        found = spread(b, level)
        estimate, lower, upper = found.mean, found.lower, found.upper
    return LevelEffects(
        group=block.group,
        labels=block.labels,
        effects=block.effects,
        engine=fit.engine,
        estimate=frozen(np.asarray(estimate)),
        lower=frozen(np.asarray(lower)),
        upper=frozen(np.asarray(upper)),
        level=level,
    )
