"""How much single rows and single groups weigh: leverage, and Cook's distance by deletion."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np

from hlm_models.algebra.criterion import Profiled, profiled
from hlm_models.algebra.gram import Gram
from hlm_models.algebra.kernel import one_factor
from hlm_models.algebra.search import minimise
from hlm_models.design.build import Design, RandomBlock
from hlm_models.errors import InputErrors
from hlm_models.results.extract import one_group, residuals
from hlm_models.results.fits import PointFit
from hlm_models.results.point_only import point_only
from hlm_models.results.predict import phi
from hlm_models.results.rows import model_rows
from hlm_models.spec.marginal import Marginal
from hlm_models.types import BoolArray, FloatArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["coefficients_without", "cooks_distance", "leverage"]

Theta = Literal["refit", "fixed"]


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
    fit: PointFit, by: str | None = None, *, theta: Theta | None = None
) -> "pd.Series[float]":
    """Cook's distance of each level of the group `by`, or of each row.

    Of a level it is d' Var(beta)^-1 d / p, with d the change of beta where the level's rows are
    left out: exactly, by fitting again without them, or with theta as it is. NaN where the other
    rows do not determine beta. `cooks.distance(influence(fit, by))` of lme4 is (J - p) / J times
    that. Of a row it is the usual formula of its leverage and residual, theta being fixed, as
    `cooks.distance(fit)` of lme4.

    Parameters
    ----------
    by : a group of the model
    theta : "refit" (the default) or "fixed", of the fits without a level

    Raises
    ------
    InputErrors
        there is no such group, or `theta` is given without one.
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
        return pd.Series((e / (1 - h)) ** 2 * h / p, name="cooks_distance")
    block = fit.spec.blocks[one_group(fit, by)]
    change = coefficients_without(fit, by, theta=theta or "refit") - fit.beta
    found = np.einsum("jp,pj->j", change, np.linalg.solve(fit.vcov_beta, change.T)) / p
    return pd.Series(found, index=pd.Index(block.labels, name=by), name="cooks_distance")


def coefficients_without(fit: PointFit, by: str, *, theta: Theta = "refit") -> FloatArray:
    """Estimates (J, p) of beta without the rows of each level of the group `by`.

    A row is NaN where the other rows do not determine beta. Costs one fit a level, on the blocks
    of the others; with theta fixed and a single group in the model, one pass in all.
    """
    if theta not in ("refit", "fixed"):
        raise InputErrors.one(f"theta is refit or fixed, not {theta!r}", key="theta")
    block, marginal = fit.spec.blocks[one_group(fit, by)], fit.spec.marginal
    if theta == "fixed" and isinstance(marginal.products, Gram):
        return _one_pass(fit, marginal.products)
    found = np.full((block.J, len(fit.beta)), np.nan)
    for j, rest in enumerate(_without(fit, block)):
        if not _determined(rest.inner, fit.spec.design.n):
            continue
        here = rest.start
        if theta == "refit":
            objective = partial(_objective, rest)
            # On the boundary another basin may be deeper once a level is gone.
            starts = (rest.start, rest.marginal.start(1.0)) if fit.singular else (rest.start,)
            here = min((minimise(objective, at) for at in starts), key=lambda one: one.value).x
        found[j] = rest.marginal.beta(rest.at(here))
    return found


def _one_pass(fit: PointFit, gram: Gram) -> FloatArray:
    """Without each level of the only group (J, p), theta being fixed: S is a sum over levels."""
    [block], marginal, p = fit.spec.blocks, fit.spec.marginal, len(fit.beta)
    found = one_factor(marginal.factors(phi(fit)[:-1])[0], gram)
    T, H = _level_products(fit.spec.design, block), np.moveaxis(gram.H, -1, 0)
    S = found.S - T + np.swapaxes(H, 1, 2) @ found.E @ H
    known = _determined((gram.T - T)[:, :p, :p], gram.n)
    beta = np.full((block.J, p), np.nan)
    beta[known] = np.linalg.solve(S[known, :p, :p], S[known, :p, p:])[..., 0]
    raw: FloatArray = np.linalg.solve(
        fit.spec.design.x_scaling.R, (beta + fit.spec.design.y_fit).T
    ).T
    return raw


def _determined(inner: FloatArray, n: int) -> BoolArray:
    """Whether X'X (..., p, p) of some rows has full rank.

    In scaled columns it is n I for all rows, so a loss of rank shows.
    """
    return np.asarray(np.linalg.eigvalsh(inner)[..., 0] > 1e-10 * n)


@dataclass(frozen=True, slots=True)
class _Rest:
    """The criterion of the rows that are left, and where its search starts.

    inner (p, p) is X'X of their scaled columns; `marginal` tells how theta and beta are scaled.
    """

    marginal: Marginal
    at: Callable[[FloatArray], Profiled]
    inner: FloatArray
    start: FloatArray


def _objective(rest: _Rest, theta: FloatArray) -> tuple[float, FloatArray]:
    try:
        at = rest.at(theta)
    except np.linalg.LinAlgError:
        return np.inf, np.full(len(theta), np.nan)
    return at.value, rest.marginal.gradient(theta, at.M)


def _without(fit: PointFit, block: RandomBlock) -> Iterator[_Rest]:
    """What is left without each level of a block, in turn."""
    marginal, reml, p = fit.spec.marginal, fit.engine == "reml", len(fit.beta)
    products = marginal.products
    start = phi(fit)[:-1]
    if not isinstance(products, Gram):
        for j in range(block.J):
            rest = Marginal(_kept(marginal.design, block.level != j), marginal.structures)
            inner = rest.products.T[:p, :p]
            yield _Rest(rest, partial(rest.at, reml=reml), inner, rest.scaled_theta(fit.theta))
        return
    T = _level_products(marginal.design, block)
    for j in range(block.J):
        G, H = products.G.copy(), products.H.copy()
        G[..., j] = H[..., j] = 0.0
        left = Gram(G, H, products.T - T[j], products.n - int(block.sizes[j]))

        def at(theta: FloatArray, left: Gram = left) -> Profiled:
            return profiled(one_factor(marginal.factors(theta)[0], left), left.n, reml=reml)

        yield _Rest(marginal, at, left.T[:p, :p], start)


def _level_products(design: Design, block: RandomBlock) -> FloatArray:
    """W_j' W_j (J, k, k) of the rows of each level, in scaled columns."""
    fixed = design.x_scaling.apply(design.X)
    W = np.column_stack([fixed, design.y_net - fixed @ design.y_fit])
    if design.root_weights is not None:
        W *= design.root_weights[:, None]
    k = W.shape[1]
    T = np.empty((block.J, k, k))
    for c in range(k):
        for d in range(c + 1):
            T[:, c, d] = T[:, d, c] = np.bincount(block.level, W[:, c] * W[:, d], block.J)
    return T


def _kept(design: Design, keep: BoolArray) -> Design:
    """The design of some of the rows, its levels and scaling as they were."""

    def rows(values: FloatArray | None) -> FloatArray | None:
        return None if values is None else values[keep]

    return replace(
        design,
        y=design.y[keep],
        X=design.X[keep],
        blocks=tuple(
            replace(block, z=block.z[keep], level=block.level[keep]) for block in design.blocks
        ),
        weights=rows(design.weights),
        offset=rows(design.offset),
    )
