"""How much single rows and single groups weigh: leverage, and Cook's distance by deletion."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np

from hlm_models.algebra.crossed import Sweep
from hlm_models.algebra.gram import Gram
from hlm_models.algebra.kernel import one_factor
from hlm_models.design.build import RandomBlock
from hlm_models.design.find_block import find_block
from hlm_models.errors import InputErrors
from hlm_models.results.deletion import case_deletion, determined, level_products, scaled_rows
from hlm_models.results.estimates import phi
from hlm_models.results.extract import residuals
from hlm_models.results.fits import PointFit
from hlm_models.results.optimum_only import optimum_only
from hlm_models.results.point_only import point_only
from hlm_models.results.progress import Progress, Step, silent
from hlm_models.results.rows import model_rows
from hlm_models.spec.marginal import Marginal
from hlm_models.types import FloatArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["coefficients_without", "cooks_distance", "leverage"]

Theta = Literal["refit", "fixed"]

LARGEST = 1_000
"""Most rows of a level whose covariances are formed; without a larger one, blocks are made anew."""


def leverage(fit: PointFit) -> FloatArray:
    """Derivative (n,) of each fitted value with respect to its own response, theta being fixed.

    It is the diagonal of the hat matrix of X beta + Z b, `hatvalues(fit)` of lme4.
    """
    fit = point_only(fit, "leverage")
    rows = model_rows(fit.spec)
    parts = fit.spec.marginal.prediction_variance(
        phi(fit)[:-1], fit.sigma, rows.x, rows.z, rows.level
    )
    return rows.weights * sum(parts) / fit.sigma**2


def cooks_distance(
    fit: PointFit,
    by: str | None = None,
    *,
    theta: Theta | None = None,
    progress: Progress = silent,
) -> "pd.Series[float]":
    """Cook's distance of each level of the group `by`, or of each row.

    Of a level it is d' Var(beta)^-1 d / p, with d the change of beta where the level's rows are
    left out: exactly, by fitting again without them, or with theta as it is. NaN where the other
    rows do not determine beta, or are too few for a fit. `cooks.distance(influence(fit, by))` of
    lme4 is (J - p) / J times that. Of a row it is the usual formula of its leverage and residual,
    theta being fixed, as `cooks.distance(fit)` of lme4; NaN where its leverage is 1.

    Parameters
    ----------
    by : a group of the model
    theta : "refit" (the default) or "fixed", of the fits without a level

    Raises
    ------
    InputErrors
        there is no such group, or `theta` is given without one; a fit that was evaluated at
        `reml.theta`, where it would be fitted again.
    """
    import pandas as pd

    fit = point_only(fit, "cooks_distance")
    p = len(fit.beta)
    if p == 0:
        raise InputErrors.one("the model has no coefficient that could change", key="by")
    if by is None:
        if theta is not None:
            raise InputErrors.one("theta is about deleting groups; name one with `by`", key="theta")
        h, e = leverage(fit), residuals(fit, "scaled")
        # What a fit through the row leaves of its residual and of 1 - h is rounding.
        left = np.where(h < 1 - 1e-10, 1 - h, np.nan)
        return pd.Series((e / left) ** 2 * h / p, name="cooks_distance")
    block = find_block(fit.spec.design, by, key="by")
    change = coefficients_without(fit, by, theta=theta or "refit", progress=progress) - fit.beta
    found = np.einsum("jp,pj->j", change, np.linalg.solve(fit.vcov_beta, change.T)) / p
    return pd.Series(found, index=pd.Index(block.labels, name=by), name="cooks_distance")


def coefficients_without(
    fit: PointFit, by: str, *, theta: Theta = "refit", progress: Progress = silent
) -> FloatArray:
    """Estimates (J, p) of beta without the rows of each level of the group `by`.

    A row is NaN where the other rows do not determine beta, or are too few for a fit. Costs one
    fit a level, on the blocks of the others; with theta fixed, one pass in all and, where the model
    has several groups, a matrix of the rows of each level.
    """
    if theta not in ("refit", "fixed"):
        raise InputErrors.one(f"theta is refit or fixed, not {theta!r}", key="theta")
    block = find_block(fit.spec.design, by, key="by")
    stage = f"without each level of {by}"
    if theta == "fixed":
        return _fixed(fit, block, lambda j: progress(Step(stage, j, block.J)))
    optimum_only(fit, "cooks_distance by refitting")
    return case_deletion(fit, by, progress=progress).beta


def _fixed(fit: PointFit, block: RandomBlock, progress: Callable[[int], None]) -> FloatArray:
    """Without each level (J, p), theta being fixed: least squares on what is left of S."""
    marginal, p = fit.spec.marginal, len(fit.beta)
    products, T = marginal.products, level_products(fit.spec.design, block)
    known = determined((products.T - T)[:, :p, :p])
    if isinstance(products, Gram):
        found = one_factor(marginal.factors(phi(fit)[:-1])[0], products)
        H = np.moveaxis(products.H, -1, 0)
        S = found.S - T + np.swapaxes(H, 1, 2) @ found.E @ H
    else:
        S = _several(fit, block, progress)
    beta = np.full((block.J, p), np.nan)
    beta[known] = np.linalg.solve(S[known, :p, :p], S[known, :p, p:])[..., 0]
    raw: FloatArray = np.linalg.solve(
        fit.spec.design.x_scaling.R, (beta + fit.spec.design.y_fit).T
    ).T
    return raw


def _several(fit: PointFit, block: RandomBlock, progress: Callable[[int], None]) -> FloatArray:
    """S without each level (J, k, k), of several groups.

    Of the rows I of a level and the others O, W_O' V_OO^-1 W_O is S less what the block I of V^-1
    takes: (V^-1 W)_I' ((V^-1)_II)^-1 (V^-1 W)_I. V^-1 = I - Z Cov(b | beta, y) Z' / sigma^2.
    """
    marginal, theta = fit.spec.marginal, phi(fit)[:-1]
    design, found = marginal.design, marginal.sweep(theta)
    assert isinstance(found, Sweep)
    root = np.ones(design.n) if design.root_weights is None else design.root_weights
    z = [
        root[:, None] * scale.apply(part.z)
        for scale, part in zip(marginal.scales, design.blocks, strict=True)
    ]
    direct = scaled_rows(design)
    for part, gain, one in zip(z, found.gains(), design.blocks, strict=True):
        direct -= np.einsum("na,nac->nc", part, gain[one.level])
    S = np.empty((block.J, *found.S.shape))
    order = np.argsort(block.level, kind="stable")
    for j, rows in enumerate(np.split(order, np.cumsum(block.sizes)[:-1])):
        progress(j)
        if len(rows) > LARGEST:
            rest = Marginal(design.keeping(np.flatnonzero(block.level != j)), marginal.structures)
            back = np.eye(len(found.S))
            back[:-1, -1] = rest.design.y_fit - design.y_fit
            S[j] = back.T @ rest.sweep(rest.scaled_theta(fit.theta)).S @ back
            continue
        between = found.covariance(
            tuple(part[rows] for part in z), tuple(one.level[rows] for one in design.blocks)
        )
        here = direct[rows]
        S[j] = found.S - here.T @ np.linalg.solve(np.eye(len(rows)) - between, here)
    progress(block.J)
    return S
