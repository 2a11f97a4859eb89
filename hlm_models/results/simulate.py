"""Responses drawn from a fitted model."""

from dataclasses import replace
from typing import Literal

import numpy as np

from hlm_models.errors import InputErrors
from hlm_models.results.extract import estimated
from hlm_models.results.fits import PointFit
from hlm_models.results.point_only import point_only
from hlm_models.spec.simulate import draw_response
from hlm_models.types import FloatArray

__all__ = ["simulate"]


def simulate(
    fit: PointFit,
    draws: int = 1,
    *,
    seed: int,
    groups: Literal["new", "existing"] = "new",
) -> FloatArray:
    """Responses (n, draws) of the rows of the model at its estimates.

    Parameters
    ----------
    seed : the same seed gives the same draws, however many are asked for
    groups : "new" draws the random effects from N(0, Psi) each time (`use.u = FALSE` in lme4);
        "existing" keeps them at their conditional means (`use.u = TRUE`)
    """
    fit = point_only(fit, "simulate")
    if groups not in ("new", "existing"):
        raise InputErrors.one(f"groups is new or existing, not {groups!r}", key="groups")
    if draws < 1:
        raise InputErrors.one(f"at least one draw is needed, not {draws}", key="draws")
    rng = np.random.default_rng(seed)
    point = estimated(fit)
    out = np.empty((fit.spec.design.n, draws), order="F")
    for column in range(draws):
        if groups == "new":
            b = tuple(
                rng.standard_normal(estimate.b.shape) @ (fit.sigma * estimate.Lambda).T
                for estimate in fit.random
            )
            point = replace(point, b=b)
        out[:, column] = draw_response(fit.spec, point, rng)
    return out
