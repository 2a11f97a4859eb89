"""REML and ML by the bundled fitter, on Gram blocks."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hlm_models.algebra.criterion import Profiled, full_deviance, profiled
from hlm_models.algebra.crossed import Coupled, Sweep, sweep
from hlm_models.algebra.gram import Gram, Scaling
from hlm_models.algebra.kernel import OneFactor, level_pass, one_factor
from hlm_models.algebra.search import Found, evaluate, hessian, minimise
from hlm_models.config.settings import FitSettings
from hlm_models.design.build import RandomBlock
from hlm_models.errors import FitError, InputErrors
from hlm_models.results.checks import Check, graded
from hlm_models.results.design_checks import design_checks
from hlm_models.results.fits import PointFit, RandomEstimate
from hlm_models.results.progress import Progress, Step
from hlm_models.spec.model import ModelSpec
from hlm_models.types import FloatArray, IntArray, frozen

__all__ = ["fit", "refusals"]

STARTS = tuple(10.0 ** (-k / 2) for k in (0, 2, 1, 3, -1, 4, -2, 5, *range(6, 18)))
"""Relative standard deviations, in scaled columns, that the searches start from, in turn."""

SCATTERED = 12
"""Further starts where the best end so far is singular: there other basins may be deeper."""

FLAT = 1e-9
"""Curvature, relative to the steepest (or to 1), below which a direction counts as flat."""

NEAR = 1e-6
"""A criterion may stand so far above the minimum of its local quadratic."""

DRAWS = False
"""Whether a fit is a posterior."""


DENSE = 10_000
"""Most effects of all groups but the largest: their Schur complement is a dense matrix."""


def refusals(spec: ModelSpec) -> tuple[str, ...]:
    """Why the fitter cannot fit this model; empty where it can."""
    reasons = []
    others = sum(block.J * block.q for block in spec.blocks[1:])
    if others > DENSE:
        reasons.append(
            f"all groups but the largest have {others:,} effects, more than the {DENSE:,} that the "
            "fitter can hold in one dense matrix"
        )
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
    progress(Step("loading the kernel"))
    started = time.perf_counter()
    _warm()
    compiled = time.perf_counter()
    progress(Step("cross-products"))
    design = spec.design
    products = design.gram(spec.blocks[0]) if len(spec.blocks) == 1 else design.coupled()
    scales = tuple(design.z_scaling(block) for block in spec.blocks)
    problem = _Problem(spec, products, scales, reml)
    built = time.perf_counter()
    if spec.reml.theta is not None:
        here = problem.scaled_theta("reml.theta", spec.reml.theta)
        found = [evaluate(problem.objective, here)]
    else:
        progress(Step("optimising"))
        found = [minimise(problem.objective, start) for start in problem.starts()]
        asked = spec.reml.starts is not None or spec.reml.start is not None
        if not asked and problem.on_boundary(found):
            found += [minimise(problem.objective, start) for start in problem.scattered()]
    exact = FitError("the model fits the data exactly: sigma tends to zero and no fit exists")
    finite = [one for one in found if np.isfinite(one.value)]
    if any(one.value == -np.inf for one in found):
        raise exact
    if not finite:
        raise FitError(
            "the criterion is not finite at any start: check the columns for huge values"
        )
    best = min(finite, key=lambda one: one.value)
    best = best if spec.reml.theta is not None else problem.snapped(best)
    at = problem.at(best.x)
    left = problem.products.T[-1, -1]
    if at.r2 <= 1e-14 * left or left <= 1e-26 * float(np.square(design.y).sum()):
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
            "compile": compiled - started,
            "products": built - compiled,
            "fit": fitted - built,
        },
        seed=settings.seed,
    )


def _warm() -> None:
    """Load the compiled kernel, or compile it where no cache of it is left."""
    one = np.ones((1, 1, 1))
    level_pass(one[0], one, np.ones((1, 2, 1)), np.eye(2), derivatives=True)


@dataclass(frozen=True)
class _Problem:
    """The criterion as a function of theta: the free entries of each Lambda by columns.

    theta and Lambda are in scaled columns here: z = scaled @ R, so Lambda_raw Lambda_raw' =
    R^-1 Lambda Lambda' R^-T.
    """

    spec: ModelSpec
    products: Gram | Coupled
    scales: tuple[Scaling, ...]
    reml: bool

    @cached_property
    def entries(self) -> tuple[tuple[IntArray, IntArray], ...]:
        """Rows and columns of each Lambda's free entries, by columns."""
        found = []
        for block in self.spec.blocks:
            columns, rows = np.nonzero(block.mask.T)
            found.append((rows.astype(np.int64), columns.astype(np.int64)))
        return tuple(found)

    @property
    def offset(self) -> float:
        """What the criterion in raw columns has beyond the one in scaled columns."""
        R = self.spec.design.x_scaling.R
        return 2 * float(np.sum(np.log(np.abs(np.diag(R))))) if self.reml else 0.0

    def starts(self) -> list[FloatArray]:
        """Theta of every start that the settings ask for."""
        settings = self.spec.reml
        given = [] if settings.start is None else [self.scaled_theta("reml.start", settings.start)]
        number = settings.starts or (1 if given else 2)
        return given + [self.start(size) for size in STARTS[: number - len(given)]]

    def on_boundary(self, found: Sequence[Found]) -> bool:
        """Whether the best end has a nearly singular Lambda of several effects."""
        best = min(found, key=lambda one: one.value)
        if not np.isfinite(best.value):
            return False
        return any(
            np.linalg.svd(Lambda, compute_uv=False).min() < 1e-3
            for Lambda in self.factors(best.x)
            if len(Lambda) > 1
        )

    def scattered(self) -> list[FloatArray]:
        """Further starts, large and of all kinds of correlations: the same ones in every fit."""
        rng = np.random.default_rng(20_091)
        sizes = 10.0 ** (np.arange(SCATTERED) % 3 / 2 + 0.5)
        return list(sizes[:, None] * rng.standard_normal((SCATTERED, len(self.start(1.0)))))

    def scaled_theta(self, key: str, raw: Sequence[float]) -> FloatArray:
        """A user's theta, of raw columns, as that of scaled columns.

        Raises
        ------
        InputErrors
            it has another length than this model's theta.
        """
        length = len(self.start(1.0))
        if len(raw) != length:
            names = ", ".join(term.text for block in self.spec.blocks for term in block.terms)
            raise InputErrors.one(
                f"this model's theta has {length} numbers (lower triangles by columns of {names}), "
                f"and {len(raw)} are given",
                key=key,
            )
        factors = self.factors(np.array(raw, dtype=np.float64))
        return self.theta(
            [
                lower_factor(scale.R @ Lambda)
                for scale, Lambda in zip(self.scales, factors, strict=True)
            ]
        )

    def start(self, size: float) -> FloatArray:
        return np.concatenate(
            [np.where(rows == columns, size, 0.0) for rows, columns in self.entries]
        )

    def factors(self, theta: FloatArray) -> tuple[FloatArray, ...]:
        """Lambda of every block."""
        found, at = [], 0
        for block, entries in zip(self.spec.blocks, self.entries, strict=True):
            Lambda = np.zeros((block.q, block.q))
            Lambda[entries] = theta[at : at + len(entries[0])]
            at += len(entries[0])
            found.append(Lambda)
        return tuple(found)

    def theta(self, factors: Sequence[FloatArray]) -> FloatArray:
        """The free entries of the Lambdas, one after the other."""
        return np.concatenate(
            [Lambda[entries] for Lambda, entries in zip(factors, self.entries, strict=True)]
        )

    def sweep(self, theta: FloatArray) -> OneFactor | Sweep:
        factors = self.factors(theta)
        if isinstance(self.products, Gram):
            return one_factor(factors[0], self.products)
        return sweep(factors, self.products)

    def at(self, theta: FloatArray) -> Profiled:
        return profiled(self.sweep(theta), self.products.n, reml=self.reml)

    def gradient(self, theta: FloatArray, M: Sequence[FloatArray]) -> FloatArray:
        """df/dtheta = 2 M Lambda at the free entries."""
        factors = self.factors(theta)
        return self.theta([2 * m @ Lambda for m, Lambda in zip(M, factors, strict=True)])

    def objective(self, theta: FloatArray) -> tuple[float, FloatArray]:
        """Value (in scaled columns) and gradient; infinite where it cannot be computed."""
        try:
            at = self.at(theta)
        except np.linalg.LinAlgError:
            return np.inf, np.full(len(theta), np.nan)
        return at.value, self.gradient(theta, at.M)

    def full(self, phi: FloatArray) -> tuple[float, FloatArray]:
        """Deviance at phi = (theta, log sigma), and its gradient."""
        theta, log_sigma = phi[:-1], phi[-1]
        value, M, slope = full_deviance(
            self.sweep(theta), self.products.n, float(np.exp(log_sigma)), reml=self.reml
        )
        return value, np.append(self.gradient(theta, M), slope)

    def snapped(self, found: Found) -> Found:
        """The same optimum with every Lambda exactly singular, where that costs nothing."""
        candidates = []
        for block, Lambda in zip(self.spec.blocks, self.factors(found.x), strict=True):
            candidate = np.zeros_like(Lambda)
            for term in block.terms:
                here = (term.columns, term.columns)
                u, s, vt = np.linalg.svd(Lambda[here])
                if not term.correlated:
                    diagonal = np.diag(Lambda[here])
                    keep = np.abs(diagonal) >= 1e-3 * max(1.0, float(s[0]))
                    candidate[here] = np.diag(np.where(keep, diagonal, 0.0))
                    continue
                small = s < 1e-3 * max(1.0, float(s[0]))
                kept = u @ np.diag(np.where(small, 0.0, s)) @ vt
                candidate[here] = lower_factor(kept) if small.any() else Lambda[here]
            candidates.append(candidate)
        theta = self.theta(candidates)
        if np.array_equal(theta, found.x):
            return found
        again = minimise(self.objective, theta)
        tolerance = 1e-11 * max(abs(found.value), 1.0)
        return again if again.value <= found.value + tolerance else found

    def raw_factor(self, index: int, theta: FloatArray) -> FloatArray:
        """Lambda of one block in raw columns: lower triangular, diagonal >= 0."""
        return lower_factor(np.linalg.solve(self.scales[index].R, self.factors(theta)[index]))


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
    design = problem.spec.design
    R = design.x_scaling.R
    beta = np.linalg.solve(R, at.beta + design.y_fit)
    phi = np.append(best.x, np.log(at.sigma))
    information = hessian(lambda here: problem.full(here)[1], phi) / 2
    spread = _pseudo_inverse(information)
    found = problem.sweep(best.x)
    means, covariances = found.effects(np.append(-at.beta, 1.0)), found.effect_covariances()
    random = tuple(
        _random_estimate(problem, index, best.x, at.sigma, spread, means[index], covariances[index])
        for index in range(len(problem.spec.blocks))
    )
    theta = np.concatenate(
        [
            estimate.Lambda[term.columns, term.columns].T[
                np.triu_indices(term.q) if term.correlated else np.diag_indices(term.q)
            ]
            for block, estimate in zip(problem.spec.blocks, random, strict=True)
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
        random=random,
        starts=starts,
        checks=(
            *_checks(problem, best, at, starts),
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
    problem: _Problem,
    index: int,
    theta: FloatArray,
    sigma: float,
    spread: FloatArray,
    b: FloatArray,
    b_cov: FloatArray,
) -> RandomEstimate:
    """Estimates of one block; b and b_cov are those of scaled columns, over 1 and sigma^2."""
    block = problem.spec.blocks[index]
    Lambda = problem.raw_factor(index, theta)
    cov = sigma**2 * Lambda @ Lambda.T
    sd = np.sqrt(np.diag(cov))
    with np.errstate(invalid="ignore", divide="ignore"):
        corr = cov / np.outer(sd, sd)
    np.fill_diagonal(corr, 1.0)
    corr[~np.isfinite(corr)] = 0.0
    scaled = problem.factors(theta)[index]
    singular = bool(
        np.linalg.matrix_rank(scaled, tol=1e-6 * max(1.0, np.abs(scaled).max())) < block.q
    )
    se_log_sd = np.full(block.q, np.nan)
    se_z = np.full((block.q, block.q), np.nan)
    for part in _free_parts(block):
        here = scaled[np.ix_(part, part)]
        if np.linalg.matrix_rank(here, tol=1e-6 * max(1.0, np.abs(here).max())) < len(part):
            continue
        rows, columns = (np.array(part)[at] for at in np.tril_indices(len(part), -1))

        def readable(
            phi: FloatArray,
            part: list[int] = part,
            rows: IntArray = rows,
            columns: IntArray = columns,
        ) -> FloatArray:
            lower = np.exp(phi[-1]) * problem.raw_factor(index, phi[:-1])
            psi = lower @ lower.T
            size = np.sqrt(np.diag(psi))
            z = np.arctanh(psi[rows, columns] / (size[rows] * size[columns]))
            return np.append(np.log(size[part]), z)

        J = _jacobian(readable, np.append(theta, np.log(sigma)))
        se = np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", J, spread, J), 0.0))
        se_log_sd[part] = se[: len(part)]
        se_z[rows, columns] = se_z[columns, rows] = se[len(part) :]
    back = np.linalg.inv(problem.scales[index].R)
    return RandomEstimate(
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
        b_cov=frozen(sigma**2 * back @ b_cov @ back.T),
    )


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
    problem: _Problem, best: Found, at: Profiled, starts: tuple[float, ...]
) -> tuple[Check, ...]:
    """The certificate: stationarity and curvature about Psi, and what the starts found."""
    outward = 0.0
    smallest: dict[str, float] = {}
    for block, Lambda, M in zip(problem.spec.blocks, problem.factors(best.x), at.M, strict=True):
        smallest[block.group] = np.inf
        for columns in _free_parts(block):
            here = np.ix_(columns, columns)
            u, s, _ = np.linalg.svd(Lambda[here])
            smallest[block.group] = min(smallest[block.group], float(s.min()))
            null = u[:, s < 1e-6 * max(1.0, float(s[0]))]
            if null.shape[1]:
                # Columns are scaled, so that Z'Z has about n on its diagonal.
                inside = null.T @ M[here] @ null / problem.products.n
                outward = max(outward, -float(np.linalg.eigvalsh(inside).min()))
    singular = [group for group, size in smallest.items() if size < 1e-6]
    curvature = np.linalg.eigvalsh(best.hessian)
    flat = float(curvature.min() / max(float(curvature.max()), 1.0))
    spread = max(starts) - min(starts)
    agreeing = sum(value - min(starts) < 1e-5 for value in starts)
    return (
        graded(
            "gradient",
            best.decrease,
            fail=NEAR,
            message=_stationarity(problem, best),
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
        graded(
            "identified",
            flat,
            warn=FLAT,
            below=True,
            message="curvature of the criterion in its flattest direction, over the steepest"
            if flat >= FLAT
            else "the criterion is flat in some direction of the variances: the data cannot tell "
            "them apart (the same partition twice, or a group that is also in the fixed part), "
            "and their estimates and standard errors are arbitrary",
        ),
        Check(
            "singular",
            "warn" if singular else "pass",
            min(smallest.values()),
            1e-6,
            (
                f"some combination of the effects of {' and '.join(singular)} does not vary at "
                "all in the best fit: a simpler random part says the same"
            )
            if singular
            else f"the covariances of the effects of {' and '.join(smallest)} have full rank",
        ),
    )


def _stationarity(problem: _Problem, best: Found) -> str:
    """What the gradient and the curvature say, with the reason where this is no minimum."""
    if best.decrease <= NEAR:
        return "distance from the local minimum, by gradient and curvature"
    size = float(np.abs(best.gradient).max())
    where = "the theta given" if problem.spec.reml.theta is not None else "where the search ended"
    if np.isinf(best.decrease):
        return (
            f"no minimum at {where}: M Lambda is not 0 (largest gradient {size:.3g}) and the "
            "criterion falls along a direction of negative curvature"
        )
    return (
        f"no minimum at {where}: the criterion can still fall by {best.decrease:.3g} "
        f"(largest gradient {size:.3g})"
    )


def _free_parts(block: RandomBlock) -> list[list[int]]:
    """Columns whose covariance is free: all of a correlated term, else each effect by itself."""
    parts: list[list[int]] = []
    for term in block.terms:
        columns = list(range(block.q))[term.columns]
        parts += [columns] if term.correlated else [[column] for column in columns]
    return parts
