"""REML and ML by the bundled fitter, on Gram blocks."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from hlm_models.algebra.criterion import Profiled, full_deviance, profiled
from hlm_models.algebra.gram import Gram, Scaling
from hlm_models.algebra.kernel import Pass, level_pass
from hlm_models.algebra.search import Found, hessian, minimise
from hlm_models.config.settings import FitSettings
from hlm_models.design.build import RandomBlock
from hlm_models.errors import FitError
from hlm_models.results.checks import Check, graded
from hlm_models.results.design_checks import design_checks
from hlm_models.results.fits import PointFit, RandomEstimate
from hlm_models.results.progress import Progress, Step
from hlm_models.spec.model import ModelSpec
from hlm_models.types import FloatArray, IntArray, frozen

__all__ = ["fit", "refusals"]

STARTS = (1.0, 0.1)
"""Relative standard deviations, in scaled columns, that the searches start from."""

DRAWS = False
"""Whether a fit is a posterior."""


def refusals(spec: ModelSpec) -> tuple[str, ...]:
    """Why the fitter cannot fit this model; empty where it can."""
    reasons = []
    if len(spec.blocks) > 1:
        groups = ", ".join(block.group for block in spec.blocks)
        reasons.append(f"the fitter takes one grouping factor, and this model has {groups}")
    for block in spec.blocks:
        for term in block.terms:
            effects = block.J * term.q
            if effects >= spec.design.n:
                reasons.append(
                    f"({term.text}) has {effects} random effects for {spec.design.n} rows: they "
                    "cannot be told from the residual"
                )
    if spec.design.n <= spec.design.p:
        reasons.append(f"{spec.design.p} coefficients for {spec.design.n} rows")
    return tuple(reasons)


def fit(spec: ModelSpec, settings: FitSettings, progress: Progress, *, reml: bool) -> PointFit:
    """Fit by REML (or ML) and certify the optimum.

    Raises
    ------
    FitError
        sigma tends to zero, or the criterion is not finite anywhere.

    Source: Bates et al. (2015), doi:10.18637/jss.v067.i01, section 3.4; Satterthwaite's degrees of
    freedom as in Kuznetsova et al. (2017), doi:10.18637/jss.v082.i13, section 2.
    """
    started = time.perf_counter()
    progress(Step("cross-products"))
    [block] = spec.blocks
    problem = _Problem(spec, block, spec.design.gram(block), spec.design.z_scaling(block), reml)
    built = time.perf_counter()
    progress(Step("optimising"))
    found = [minimise(problem.objective, problem.start(size)) for size in STARTS]
    exact = FitError("the model fits the data exactly: sigma tends to zero and no fit exists")
    finite = [one for one in found if np.isfinite(one.value)]
    if any(one.value == -np.inf for one in found):
        raise exact
    if not finite:
        raise FitError(
            "the criterion is not finite at any start: check the columns for huge values"
        )
    best = problem.snapped(min(finite, key=lambda one: one.value))
    at = problem.at(best.x)
    if at.r2 <= 1e-14 * problem.gram.T[-1, -1]:
        raise exact
    fitted = time.perf_counter()
    progress(Step("standard errors"))
    return _results(
        problem,
        best,
        at,
        starts=tuple(one.value + problem.offset for one in found),
        seconds={
            **spec.seconds,
            "products": built - started,
            "compile": 0.0,
            "fit": fitted - built,
        },
        seed=settings.seed,
    )


@dataclass(frozen=True)
class _Problem:
    """The criterion of one block as a function of theta, the free entries of Lambda by columns.

    theta and Lambda are in scaled columns here: z = scaled @ R, so Lambda_raw Lambda_raw' =
    R^-1 Lambda Lambda' R^-T.
    """

    spec: ModelSpec
    block: RandomBlock
    gram: Gram
    scale: Scaling
    reml: bool

    @property
    def entries(self) -> tuple[IntArray, IntArray]:
        """Rows and columns of Lambda's free entries, by columns."""
        columns, rows = np.nonzero(self.block.mask.T)
        return rows.astype(np.int64), columns.astype(np.int64)

    @property
    def offset(self) -> float:
        """What the criterion in raw columns has beyond the one in scaled columns."""
        R = self.spec.design.x_scaling.R
        return 2 * float(np.sum(np.log(np.diag(R)))) if self.reml else 0.0

    def start(self, size: float) -> FloatArray:
        rows, columns = self.entries
        return np.where(rows == columns, size, 0.0)

    def factor(self, theta: FloatArray) -> FloatArray:
        Lambda = np.zeros((self.block.q, self.block.q))
        Lambda[self.entries] = theta
        return Lambda

    def sweep(self, theta: FloatArray) -> Pass:
        gram = self.gram
        return level_pass(self.factor(theta), gram.G, gram.H, gram.T, derivatives=True)

    def at(self, theta: FloatArray) -> Profiled:
        return profiled(self.sweep(theta), self.gram.n, reml=self.reml)

    def objective(self, theta: FloatArray) -> tuple[float, FloatArray]:
        """Value (in scaled columns) and gradient; infinite where it cannot be computed."""
        try:
            at = self.at(theta)
        except np.linalg.LinAlgError:
            return np.inf, np.full(len(theta), np.nan)
        return at.value, (2 * at.M @ self.factor(theta))[self.entries]

    def full(self, phi: FloatArray) -> tuple[float, FloatArray]:
        """Deviance at phi = (theta, log sigma), and its gradient."""
        theta, log_sigma = phi[:-1], phi[-1]
        value, M, slope = full_deviance(
            self.sweep(theta), self.gram.n, float(np.exp(log_sigma)), reml=self.reml
        )
        return value, np.append((2 * M @ self.factor(theta))[self.entries], slope)

    def snapped(self, found: Found) -> Found:
        """The same optimum with Lambda exactly singular, where that costs nothing."""
        Lambda = self.factor(found.x)
        candidate = np.zeros_like(Lambda)
        for term in self.block.terms:
            here = (term.columns, term.columns)
            u, s, vt = np.linalg.svd(Lambda[here])
            small = s < 1e-3 * max(1.0, float(s[0]))
            candidate[here] = lower_factor(u @ np.diag(np.where(small, 0.0, s)) @ vt)
        if np.array_equal(candidate, Lambda):
            return found
        again = minimise(self.objective, candidate[self.entries])
        tolerance = 1e-11 * max(abs(found.value), 1.0)
        return again if again.value <= found.value + tolerance else found

    def raw_factor(self, theta: FloatArray) -> FloatArray:
        """Lambda in raw columns: lower triangular, diagonal >= 0."""
        return lower_factor(np.linalg.solve(self.scale.R, self.factor(theta)))


def lower_factor(root: FloatArray) -> FloatArray:
    """Lower triangular L with L L' = root root' and diagonal >= 0, also where it is singular."""
    L: FloatArray = np.linalg.qr(root.T, mode="r").T
    size = np.abs(L).max(initial=0.0)
    L = np.where(np.abs(L) < 1e-15 * size, 0.0, L)
    sign = np.where(np.diag(L) < 0, -1.0, 1.0)
    return np.asarray(L * sign)


def _results(
    problem: _Problem,
    best: Found,
    at: Profiled,
    *,
    starts: tuple[float, ...],
    seconds: Mapping[str, float],
    seed: int,
) -> PointFit:
    design, block = problem.spec.design, problem.block
    R = design.x_scaling.R
    beta = np.linalg.solve(R, at.beta)
    if "Intercept" in design.coef:
        beta[design.coef.index("Intercept")] += design.y_shift
    phi = np.append(best.x, np.log(at.sigma))
    information = hessian(lambda here: problem.full(here)[1], phi) / 2
    spread = _pseudo_inverse(information)
    estimate, singular = _random_estimate(problem, best, at, spread)
    theta = np.concatenate(
        [
            estimate.Lambda[term.columns, term.columns].T[
                np.triu_indices(term.q) if term.correlated else np.diag_indices(term.q)
            ]
            for term in block.terms
        ]
    )
    criterion = best.value + problem.offset
    return PointFit(
        spec=problem.spec,
        engine="reml" if problem.reml else "ml",
        criterion=criterion,
        beta=frozen(beta),
        vcov_beta=frozen(_vcov(at.sigma, at.factor, R)),
        df=frozen(_satterthwaite(problem, phi, spread)),
        sigma=at.sigma,
        se_log_sigma=float(np.sqrt(spread[-1, -1])),
        theta=frozen(theta),
        random=(estimate,),
        starts=starts,
        checks=(
            *_checks(problem, best, at, starts, singular),
            *design_checks(problem.spec),
        ),
        seconds=seconds,
        seed=seed,
    )


def _vcov(sigma: float, factor: FloatArray, R: FloatArray) -> FloatArray:
    """Var(beta) in raw columns, (p, p)."""
    half = np.linalg.solve(factor, np.linalg.inv(R).T) * sigma
    return half.T @ half


def _pseudo_inverse(information: FloatArray) -> FloatArray:
    """Inverse on the directions that the data inform; flat or negative ones count as known."""
    values, axes = np.linalg.eigh(information)
    keep = values > 1e-9 * float(values.max())
    return np.asarray((axes[:, keep] / values[keep]) @ axes[:, keep].T)


def _random_estimate(
    problem: _Problem, best: Found, at: Profiled, spread: FloatArray
) -> tuple[RandomEstimate, bool]:
    block, gram = problem.block, problem.gram
    Lambda = problem.raw_factor(best.x)
    cov = at.sigma**2 * Lambda @ Lambda.T
    sd = np.sqrt(np.diag(cov))
    with np.errstate(invalid="ignore", divide="ignore"):
        corr = cov / np.outer(sd, sd)
    np.fill_diagonal(corr, 1.0)
    corr[~np.isfinite(corr)] = 0.0
    scaled = problem.factor(best.x)
    singular = bool(
        np.linalg.matrix_rank(scaled, tol=1e-6 * max(1.0, np.abs(scaled).max())) < block.q
    )
    se_log_sd = np.full(block.q, np.nan)
    se_z = np.full((block.q, block.q), np.nan)
    if not singular:
        rows, columns = np.tril_indices(block.q, -1)
        related = block.mask[rows, columns] > 0
        rows, columns = rows[related], columns[related]

        def readable(phi: FloatArray) -> FloatArray:
            here = np.exp(phi[-1]) * problem.raw_factor(phi[:-1])
            psi = here @ here.T
            size = np.sqrt(np.diag(psi))
            return np.append(
                np.log(size), np.arctanh(psi[rows, columns] / (size[rows] * size[columns]))
            )

        J = _jacobian(readable, np.append(best.x, np.log(at.sigma)))
        se = np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", J, spread, J), 0.0))
        se_log_sd = se[: block.q]
        se_z[rows, columns] = se_z[columns, rows] = se[block.q :]
    b, b_cov = _blups(gram, scaled, at)
    back = np.linalg.inv(problem.scale.R)
    estimate = RandomEstimate(
        group=block.group,
        columns=block.effects,
        sd=frozen(sd),
        corr=frozen(corr),
        cov=frozen(cov),
        Lambda=frozen(Lambda),
        singular=singular,
        se_log_sd=frozen(se_log_sd),
        se_z_corr=frozen(se_z),
        b=frozen(b @ back.T),
        b_cov=frozen(back @ b_cov @ back.T),
    )
    return estimate, singular


def _blups(gram: Gram, Lambda: FloatArray, at: Profiled) -> tuple[FloatArray, FloatArray]:
    """Conditional means (J, q) and covariances (J, q, q) of b in scaled columns, given theta.

    Source: Bates et al. (2015), doi:10.18637/jss.v067.i01, section 3.2.
    """
    q = len(Lambda)
    G, H = np.moveaxis(gram.G, -1, 0), np.moveaxis(gram.H, -1, 0)
    A = np.eye(q) + Lambda.T @ G @ Lambda
    residual = H @ np.append(-at.beta, 1.0)
    u = np.linalg.solve(A, (residual @ Lambda)[..., None])[..., 0]
    half = np.linalg.solve(np.linalg.cholesky(A), np.broadcast_to(Lambda.T, A.shape))
    return u @ Lambda.T, at.sigma**2 * np.swapaxes(half, -1, -2) @ half


def _jacobian(function: Callable[[FloatArray], FloatArray], x: FloatArray) -> FloatArray:
    columns = []
    for i in range(len(x)):
        h = 1e-5 * max(1.0, abs(x[i]))
        up, down = x.copy(), x.copy()
        up[i] += h
        down[i] -= h
        columns.append((function(up) - function(down)) / (up[i] - down[i]))
    return np.column_stack(columns)


def _satterthwaite(problem: _Problem, phi: FloatArray, spread: FloatArray) -> FloatArray:
    """df_k = 2 v_k^2 / Var(v_k), v = diag Var(beta) as a function of (theta, log sigma)."""
    R = problem.spec.design.x_scaling.R

    def variances(here: FloatArray) -> FloatArray:
        at = problem.at(here[:-1])
        return np.diag(_vcov(float(np.exp(here[-1])), at.factor, R))

    if not problem.spec.design.p:
        return np.zeros(0)
    v = variances(phi)
    J = _jacobian(variances, phi)
    return np.asarray(2 * v**2 / np.einsum("ij,jk,ik->i", J, spread, J))


def _checks(
    problem: _Problem, best: Found, at: Profiled, starts: tuple[float, ...], singular: bool
) -> tuple[Check, ...]:
    """The certificate: stationarity and curvature about Psi, and what the starts found."""
    Lambda = problem.factor(best.x)
    outward, smallest = 0.0, np.inf
    for columns in _free_parts(problem.block):
        here = np.ix_(columns, columns)
        u, s, _ = np.linalg.svd(Lambda[here])
        smallest = min(smallest, float(s.min()))
        null = u[:, s < 1e-6 * max(1.0, float(s[0]))]
        if null.shape[1]:
            weight = float(np.trace(problem.gram.G.sum(axis=-1)[here])) / len(columns)
            inside = null.T @ at.M[here] @ null
            outward = max(outward, -float(np.linalg.eigvalsh(inside).min()) / weight)
    spread = max(starts) - min(starts)
    agreeing = sum(value - min(starts) < 1e-5 for value in starts)
    group = problem.block.group
    return (
        graded(
            "gradient",
            best.decrease,
            fail=1e-6,
            message="distance from the local minimum, by gradient and curvature",
        ),
        graded(
            "boundary",
            outward,
            fail=1e-8,
            message="on the boundary, no variance can be added that lowers the criterion",
        ),
        graded(
            "starts",
            spread,
            warn=1e-4,
            message=f"spread over {len(starts)} starts ({agreeing} reached the best)",
        ),
        Check(
            "singular",
            "warn" if singular else "pass",
            smallest,
            1e-6,
            (
                f"some combination of {group}'s effects does not vary at all in the best fit: "
                "a simpler random part says the same"
            )
            if singular
            else f"the covariance of {group}'s effects has full rank",
        ),
    )


def _free_parts(block: RandomBlock) -> list[list[int]]:
    """Columns whose covariance is free: all of a correlated term, else each effect by itself."""
    parts: list[list[int]] = []
    for term in block.terms:
        columns = list(range(block.q))[term.columns]
        parts += [columns] if term.correlated else [[column] for column in columns]
    return parts
