"""Point estimates without each level of a group, exactly: by fitting again on what is left."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from hlm_models.algebra.criterion import Swept, profiled
from hlm_models.algebra.gram import Gram
from hlm_models.algebra.kernel import one_factor
from hlm_models.algebra.search import evaluate, minimise
from hlm_models.design.build import DEPENDENT, Design, RandomBlock
from hlm_models.design.find_block import find_block
from hlm_models.results.estimates import phi
from hlm_models.results.fits import PointFit
from hlm_models.results.optimum_only import optimum_only
from hlm_models.results.point_only import point_only
from hlm_models.results.progress import Progress, Step, silent
from hlm_models.spec.marginal import Marginal
from hlm_models.types import BoolArray, FloatArray, IntArray, frozen

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CaseDeletion", "case_deletion", "determined", "level_products", "scaled_rows"]


@dataclass(frozen=True, eq=False)
class CaseDeletion:
    """Estimates without each level of `group`, one entry a level; NaN where there are none.

    There are none where the rows that are left are too few for a fit, do not determine the
    coefficients, or are of one level only.

    levels, n (J,) : the level that is left out, and its rows
    beta (J, p), sigma (J,) : the estimates without it
    sd, corr : the same of every block of the model, (J, q) and (J, q, q)
    change (J, p) : of beta, in standard errors of the fit to all rows
    change_log_sd, change_log_sigma : (J, q) of every block and (J,), the same of log sd and log
        sigma; NaN where the fit to all rows has no standard error, -inf where an sd goes to zero
    cooks (J,) : d' Var(beta)^-1 d / p, with d the change of beta and Var(beta) of the fit to all
    log_density (J,) : log p(rows of the level | all others) at the estimates without it
    """

    model: str
    engine: str
    group: str
    levels: tuple[str, ...]
    coef: tuple[str, ...]
    blocks: tuple[RandomBlock, ...]
    n: IntArray
    beta: FloatArray
    sigma: FloatArray
    sd: tuple[FloatArray, ...]
    corr: tuple[FloatArray, ...]
    change: FloatArray
    change_log_sd: tuple[FloatArray, ...]
    change_log_sigma: FloatArray
    cooks: FloatArray
    log_density: FloatArray

    def frame(self) -> "pd.DataFrame":
        """One row a level: n, cooks, log_density, the estimates, and changes of coefficients.

        Columns are named as in `summary`, the changes `change[NAME]`.
        """
        import pandas as pd

        columns = {"n": self.n, "cooks": self.cooks, "log_density": self.log_density}
        columns |= {f"beta[{name}]": one for name, one in zip(self.coef, self.beta.T, strict=True)}
        for block, sd in zip(self.blocks, self.sd, strict=True):
            columns |= {
                f"sd_{block.group}[{name}]": one
                for name, one in zip(block.effects, sd.T, strict=True)
            }
        for block, corr in zip(self.blocks, self.corr, strict=True):
            columns |= {
                f"corr_{block.group}[{block.effects[j]}, {block.effects[i]}]": corr[:, i, j]
                for i, j in np.argwhere(np.tril(block.mask, -1))
            }
        columns["sigma"] = self.sigma
        columns |= {
            f"change[{name}]": one for name, one in zip(self.coef, self.change.T, strict=True)
        }
        for block, change in zip(self.blocks, self.change_log_sd, strict=True):
            columns |= {
                f"change[log sd_{block.group}[{name}]]": one
                for name, one in zip(block.effects, change.T, strict=True)
            }
        columns["change[log sigma]"] = self.change_log_sigma
        return pd.DataFrame(columns, index=pd.Index(self.levels, name=self.group))


def case_deletion(
    fit: PointFit, by: str | None = None, *, progress: Progress = silent
) -> CaseDeletion:
    """Fit again without each level of a group, by the criterion of `fit`, and say what changes.

    With one group in the model a fit is a search over the blocks of the other levels, from where
    `fit` ended; with several, the other rows' cross-products are made anew.

    Parameters
    ----------
    by : a group of the model; may be left out where there is only one

    Raises
    ------
    InputErrors
        there is no such group, or several and none is named; or `fit` was evaluated at
        `reml.theta`.
    RefusalError
        the fit is a posterior.

    Source: for the distance, Cook (1977), doi:10.1080/00401706.1977.10489493.
    """
    fit = optimum_only(point_only(fit, "case_deletion"), "case_deletion")
    spec = fit.spec
    block, p = find_block(spec.design, by, key="by"), len(fit.beta)
    beta, sigma = np.full((block.J, p), np.nan), np.full(block.J, np.nan)
    factors = [np.full((block.J, one.q, one.q), np.nan) for one in spec.blocks]
    log_density = np.full(block.J, np.nan)
    stage = f"without each level of {block.group}"
    criterion = partial(spec.marginal.objective, reml=fit.engine == "reml")
    curvature = evaluate(criterion, phi(fit)[:-1]).hessian
    with spec.marginal.one_thread():
        for j, rest in enumerate(_without(fit, block)):
            progress(Step(stage, j, block.J, unit="fits"))
            found = None if rest is None else _optimum(fit, rest, curvature)
            if rest is None or found is None:
                continue
            theta, sigma[j], beta[j] = found
            for f, Lambda in enumerate(factors):
                Lambda[j] = rest.marginal.raw_factor(f, theta)
            every = spec.marginal.scaled_theta(rest.marginal.raw_theta(theta))
            log_density[j] = _log_density(
                spec.marginal, spec.marginal.sweep(every), spec.design.n, beta[j], sigma[j]
            ) - _log_density(rest.marginal, rest.sweep(theta), rest.n, beta[j], sigma[j])
    progress(Step(stage, block.J, block.J, unit="fits"))
    if spec.design.weights is not None:
        log_density += np.bincount(block.level, np.log(spec.design.weights), block.J) / 2
    sd, corr = zip(*(_covariance(Lambda, sigma) for Lambda in factors), strict=True)
    change = beta - fit.beta
    with np.errstate(divide="ignore", invalid="ignore"):
        change_log_sd = tuple(
            frozen((np.log(one) - np.log(estimate.sd)) / estimate.se_log_sd)
            for one, estimate in zip(sd, fit.random, strict=True)
        )
    distance = np.einsum("jp,pj->j", change, np.linalg.solve(fit.vcov_beta, change.T))
    return CaseDeletion(
        model=spec.name,
        engine=fit.engine,
        group=block.group,
        levels=block.labels,
        coef=spec.design.coef,
        blocks=spec.blocks,
        n=frozen(block.sizes.copy()),
        beta=frozen(beta),
        sigma=frozen(sigma),
        sd=sd,
        corr=corr,
        change=frozen(change / np.sqrt(np.diag(fit.vcov_beta))),
        change_log_sd=change_log_sd,
        change_log_sigma=frozen(np.log(sigma / fit.sigma) / fit.se_log_sigma),
        cooks=frozen(distance / p if p else np.full(block.J, np.nan)),
        log_density=frozen(log_density),
    )


def determined(inner: FloatArray) -> BoolArray:
    """Whether X'X (..., p, p) of some rows, in columns scaled for all, has full rank."""
    if not inner.shape[-1]:
        return np.ones(inner.shape[:-2], dtype=np.bool_)
    values = np.linalg.eigvalsh(inner)
    return np.asarray(values[..., 0] > DEPENDENT * values[..., -1])


def level_products(design: Design, block: RandomBlock) -> FloatArray:
    """W_j' W_j (J, k, k) of the rows of each level, in scaled columns."""
    W = scaled_rows(design)
    k = W.shape[1]
    T = np.empty((block.J, k, k))
    for c in range(k):
        for d in range(c + 1):
            T[:, c, d] = T[:, d, c] = np.bincount(block.level, W[:, c] * W[:, d], block.J)
    return T


def scaled_rows(design: Design) -> FloatArray:
    """W (n, k) in scaled columns, times the roots of the weights."""
    fixed = design.x_scaling.apply(design.X)
    W = np.column_stack([fixed, design.y_net - fixed @ design.y_fit])
    if design.root_weights is not None:
        W *= design.root_weights[:, None]
    return W


@dataclass(frozen=True, slots=True)
class _Rest:
    """The rows that are left: their number, what a pass over them gives, and where to search.

    `marginal` tells how theta and beta are scaled.
    """

    marginal: Marginal
    sweep: Callable[[FloatArray], Swept]
    n: int
    start: FloatArray


def _without(fit: PointFit, block: RandomBlock) -> Iterator[_Rest | None]:
    """What is left without each level of a block, in turn; None where it is too little.

    What one yields does not outlive the next.
    """
    marginal, p = fit.spec.marginal, len(fit.beta)
    products, known = marginal.products, marginal.design.sigma is not None
    if not isinstance(products, Gram):
        for j in range(block.J):
            design = marginal.design.keeping(np.flatnonzero(block.level != j))
            rest = Marginal(design, marginal.structures)
            fine = (
                design.n > p
                and not design.dependent(range(p))
                and all(np.count_nonzero(one.sizes) > 1 for one in design.blocks)
                and (known or all(count < design.n for _, count in rest.effects))
            )
            start = rest.scaled_theta(fit.theta)
            yield _Rest(rest, rest.sweep, design.n, start) if fine else None
        return
    T, seen = level_products(marginal.design, block), _effects_by_level(marginal)
    left, effects = products.n - block.sizes, seen.sum(axis=1)[:, None] - seen
    enough = (left > p) & determined((products.T - T)[:, :p, :p])
    enough &= np.count_nonzero(block.sizes) - (block.sizes > 0) > 1
    enough &= known | (effects < left).all(axis=0)
    G, H = products.G.copy(), products.H.copy()
    # Read-only as all other blocks are: the kernel would be compiled anew for others.
    shown = frozen(G.view()), frozen(H.view())
    start = phi(fit)[:-1]
    for j in range(block.J):
        G[..., j] = H[..., j] = 0.0
        others = Gram(*shown, products.T - T[j], int(left[j]))
        sweep = partial(_pass, marginal, others)
        yield _Rest(marginal, sweep, others.n, start) if enough[j] else None
        G[..., j], H[..., j] = products.G[..., j], products.H[..., j]


def _pass(marginal: Marginal, products: Gram, theta: FloatArray) -> Swept:
    return one_factor(marginal.factors(theta)[0], products)


def _effects_by_level(marginal: Marginal) -> IntArray:
    """What each level adds to `Marginal.effects` (terms, J) of a model with one group."""
    [block], [structures] = marginal.design.blocks, marginal.structures
    assert isinstance(marginal.products, Gram)
    occurs = np.diagonal(marginal.products.G).T > 0
    return np.array(
        [
            occurs[term.columns].sum(axis=0)
            if structure == "shared"
            else term.q * (block.sizes > 0)
            for term, structure in zip(block.terms, structures, strict=True)
        ]
    )


def _optimum(
    fit: PointFit, rest: _Rest, curvature: FloatArray
) -> tuple[FloatArray, float, FloatArray] | None:
    """Theta in scaled columns, sigma and beta where the criterion is least; None where nowhere.

    `curvature` is that of the criterion of all rows at its optimum.
    """
    reml, known = fit.engine == "reml", fit.spec.design.sigma

    def criterion(theta: FloatArray) -> tuple[float, FloatArray]:
        try:
            at = profiled(rest.sweep(theta), rest.n, reml=reml, sigma=known)
        except np.linalg.LinAlgError:
            return np.inf, np.full(len(theta), np.nan)
        return at.value, rest.marginal.gradient(theta, at.M)

    best = minimise(criterion, rest.start, curvature=curvature)
    if fit.singular:
        # On the boundary another basin may be deeper once a level is gone.
        other = minimise(criterion, rest.marginal.start(1.0))
        best = min(best, other, key=lambda one: one.value)
    if not np.isfinite(best.value):
        return None
    at = profiled(rest.sweep(best.x), rest.n, reml=reml, sigma=known)
    return best.x, at.sigma, rest.marginal.beta(at)


def _log_density(marginal: Marginal, found: Swept, n: int, beta: FloatArray, sigma: float) -> float:
    """Log p(y | beta, Psi, sigma), but for the weights' own part, from a pass at Psi."""
    v = np.append(marginal.design.y_fit - marginal.design.x_scaling.R @ beta, 1.0)
    square = float(v @ found.S @ v) / sigma**2
    return -(n * math.log(2 * math.pi * sigma**2) + found.logdet + square) / 2


def _covariance(Lambda: FloatArray, sigma: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Standard deviations (J, q) and correlations (J, q, q), 0 with what does not vary."""
    cov = sigma[:, None, None] ** 2 * Lambda @ np.swapaxes(Lambda, 1, 2)
    sd = np.sqrt(np.diagonal(cov, axis1=1, axis2=2))
    size = np.where(sd == 0, 1.0, sd)
    corr = cov / (size[:, :, None] * size[:, None, :])
    at = np.arange(sd.shape[1])
    corr[:, at, at] = np.where(np.isnan(sd), np.nan, 1.0)
    return frozen(sd), frozen(corr)
