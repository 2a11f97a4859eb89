"""The model with its random effects integrated out, as a function of theta.

theta holds the free parameters of the relative factors Lambda, Psi = sigma^2 Lambda Lambda', of
the *scaled* columns z = scaled @ R, so that Lambda_raw = R^-1 Lambda up to a rotation from the
right. It is free of sign. phi = (theta, log sigma).
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np

from hlm_models.algebra.criterion import Profiled, Swept, full_deviance, profiled
from hlm_models.algebra.gram import Gram, Scaling, response_products
from hlm_models.algebra.kernel import NoFactor, one_factor
from hlm_models.design.build import Design, Term
from hlm_models.errors import InputErrors, RefusalError
from hlm_models.parts.covariances import Structure
from hlm_models.types import FloatArray, IntArray, frozen

if TYPE_CHECKING:
    from hlm_models.algebra.coupling import Coupled

__all__ = ["Entries", "Marginal", "Part", "SecondOrder", "end_to_end", "lower_factor"]


@dataclass(frozen=True, slots=True)
class Entries:
    """Where a block's theta stands in its Lambda: Lambda[rows, columns] = weight * theta[index]."""

    rows: IntArray
    columns: IntArray
    index: IntArray
    weight: FloatArray
    size: int


@dataclass(frozen=True, slots=True)
class Part:
    """Columns of a block whose covariance is one free piece, and how theta fills its Lambda.

    The columns are those of a correlated term, one independent effect, or the effects that share
    a variance: for these Lambda = theta diag(weight) in scaled columns, else `weight` is None.
    """

    columns: IntArray
    weight: FloatArray | None

    @property
    def pairs(self) -> tuple[IntArray, IntArray]:
        """Rows and columns, in the block, of the correlations that are free."""
        rows, columns = np.tril_indices(1 if self.weight is not None else len(self.columns), -1)
        return self.columns[rows], self.columns[columns]

    def size(self, Lambda: FloatArray) -> float:
        """Smallest singular value here of a block's Lambda; of a shared variance abs(theta)."""
        here = Lambda[np.ix_(self.columns, self.columns)]
        if self.weight is not None:
            return float(np.linalg.norm(here) / np.linalg.norm(self.weight))
        return float(np.linalg.svd(here, compute_uv=False).min())


@dataclass(frozen=True, slots=True)
class SecondOrder:
    """Curvature at phi, and what the covariance of beta does there.

    curvature : (m, m) second derivatives of the deviance (beta profiled out) in (theta, log sigma)
    unit : (m,) steps that the parameters are compared in: a theta of 1e5 is as good as one of 1
    vcov_slopes : (m, p, p) derivatives of Var(beta), raw columns
    known : whether sigma is known, and theta alone is estimated
    """

    curvature: FloatArray
    unit: FloatArray
    vcov_slopes: FloatArray
    known: bool

    @property
    def profile_curvature(self) -> FloatArray:
        """Second derivatives in theta (m - 1, m - 1), sigma being known or profiled out too."""
        H = self.curvature
        if self.known:
            return H[:-1, :-1]
        return np.asarray(H[:-1, :-1] - np.outer(H[:-1, -1], H[-1, :-1]) / H[-1, -1])

    @property
    def vcov(self) -> FloatArray:
        """Asymptotic covariance (m, m) of the estimates of phi, from the observed information.

        Inverted on the directions that the data inform; flat or negative ones count as known, as
        sigma does where it is.
        """
        unit, m = self.unit, len(self.unit)
        free = slice(m - self.known)
        scale = np.outer(unit[free], unit[free])
        values, axes = np.linalg.eigh(self.curvature[free, free] / 2 * scale)
        keep = values > 1e-9 * float(values.max(initial=0.0))
        found = np.zeros((m, m))
        found[free, free] = (axes[:, keep] / values[keep]) @ axes[:, keep].T * scale
        return found


@dataclass(frozen=True)
class Marginal:
    """Criterion, estimates and derivatives of one design at any theta.

    The pass over the rows is made once, when it is first needed; nothing after it depends on n.
    `kept` holds scalings and cross-products where they are known without it. Where the residual
    standard deviations are known, sigma is 1 and not profiled out.
    """

    design: Design
    structures: tuple[tuple[Structure, ...], ...]
    kept: "tuple[tuple[Scaling, ...], Gram | Coupled] | None" = None

    def with_response(self, y: FloatArray) -> Self:
        """The same model of another response y (n,): only cross-products with y are made anew."""
        design, scales = replace(self.design, y=frozen(y.copy())), self.scales
        products = response_products(
            tuple(block.z for block in design.blocks),
            tuple(block.level for block in design.blocks),
            tuple(block.J for block in design.blocks),
            design.X,
            design.y_net,
            z_scaling=scales,
            x_scaling=design.x_scaling,
            y_fit=design.y_fit,
            root_weights=design.root_weights,
        )
        return replace(self, design=design, kept=(scales, self.products.with_response(*products)))

    @cached_property
    def scales(self) -> tuple[Scaling, ...]:
        """Scaling of the columns of every block."""
        if self.kept is not None:
            return self.kept[0]
        return self.design.z_scalings

    @cached_property
    def products(self) -> "Gram | Coupled":
        """Cross-products of the scaled columns."""
        if self.kept is not None:
            return self.kept[1]
        blocks = self.design.blocks
        return self.design.coupled if len(blocks) > 1 else self.design.gram(*blocks or (None,))

    @property
    def too_large(self) -> str | None:
        """Why the cross-products of several groups cannot be factorised; None where they can."""
        if len(self.design.blocks) < 2:
            return None
        from hlm_models.algebra import schur

        if sum(block.J * block.q for block in self.design.blocks[1:]) <= schur.DENSE:
            return None
        try:
            _ = self.products
        except RefusalError as error:
            return str(error)
        return None

    def one_thread(self) -> AbstractContextManager[object]:
        """One BLAS thread where there are dense factors: several would wait for each other."""
        if len(self.design.blocks) < 2:
            return nullcontext()
        from hlm_models.algebra.schur import one_thread

        return one_thread()

    @property
    def sample(self) -> Self | None:
        """The same model of a sample of the levels, where there are very many."""
        products = self.products
        if not isinstance(products, Gram) or products.sample is None:
            return None
        return replace(self, kept=(self.scales, products.sample))

    @cached_property
    def entries(self) -> tuple[Entries, ...]:
        found = []
        for block, structures, scale in zip(
            self.design.blocks, self.structures, self.scales, strict=True
        ):
            rows, columns, index, weight, size = [], [], [], [], 0
            for term, structure in zip(block.terms, structures, strict=True):
                if structure == "unstructured":
                    column, row = np.triu_indices(term.q)
                else:
                    column = row = np.arange(term.q)
                rows.append(row + term.columns.start)
                columns.append(column + term.columns.start)
                if structure == "shared":
                    # One sd in raw columns is an sd proportional to the unit in scaled ones.
                    units = np.diag(scale.R)[term.columns]
                    index.append(np.full(term.q, size))
                    weight.append(units / np.sqrt(np.mean(units**2)))
                    size += 1
                else:
                    index.append(size + np.arange(len(row)))
                    weight.append(np.ones(len(row)))
                    size += len(row)
            found.append(
                Entries(
                    np.concatenate(rows),
                    np.concatenate(columns),
                    np.concatenate(index),
                    np.concatenate(weight),
                    size,
                )
            )
        return tuple(found)

    @cached_property
    def parts(self) -> tuple[tuple[Part, ...], ...]:
        """The free pieces of every block's covariance."""
        found = []
        for block, structures, entries in zip(
            self.design.blocks, self.structures, self.entries, strict=True
        ):
            parts: list[Part] = []
            for term, structure in zip(block.terms, structures, strict=True):
                columns = np.arange(term.columns.start, term.columns.stop)
                if structure == "diagonal":
                    parts += [Part(columns[k : k + 1], None) for k in range(term.q)]
                elif structure == "shared":
                    parts.append(Part(columns, entries.weight[np.isin(entries.rows, columns)]))
                else:
                    parts.append(Part(columns, None))
            found.append(tuple(parts))
        return tuple(found)

    @cached_property
    def effects(self) -> tuple[tuple[Term, int], ...]:
        """Every term with the number of its effects, those of levels without rows left out.

        Of a shared variance, those that occur.
        """
        found = []
        for block, structures in zip(self.design.blocks, self.structures, strict=True):
            for term, structure in zip(block.terms, structures, strict=True):
                count = int(np.count_nonzero(block.sizes)) * term.q
                if structure == "shared":
                    # Effects that no row has leave the one variance as it is.
                    rows = [block.level[column != 0] for column in block.z[:, term.columns].T]
                    count = sum(int(np.count_nonzero(np.bincount(levels))) for levels in rows)
                found.append((term, count))
        return tuple(found)

    @property
    def size(self) -> int:
        """Length of theta."""
        return sum(entries.size for entries in self.entries)

    def offset(self, *, reml: bool) -> float:
        """What the criterion in raw columns has beyond the one in scaled columns."""
        R = self.design.x_scaling.R
        change = 2 * float(np.sum(np.log(np.abs(np.diag(R))))) if reml else 0.0
        return change - self.design.log_weights

    def factors(self, theta: FloatArray) -> tuple[FloatArray, ...]:
        """Lambda of every block, in scaled columns."""
        found, at = [], 0
        for block, entries in zip(self.design.blocks, self.entries, strict=True):
            Lambda = np.zeros((block.q, block.q))
            here = theta[at : at + entries.size]
            Lambda[entries.rows, entries.columns] = entries.weight * here[entries.index]
            at += entries.size
            found.append(Lambda)
        return tuple(found)

    def theta(self, factors: Sequence[FloatArray]) -> FloatArray:
        """The theta that gives these Lambdas (the nearest one, where a variance is shared)."""
        return self._collect(factors, average=True)

    def gradient(self, theta: FloatArray, M: Sequence[FloatArray]) -> FloatArray:
        """df/dtheta of f with derivative M = df/dP of every block, P = Lambda Lambda'."""
        factors = self.factors(theta)
        return self._collect([2 * m @ one for m, one in zip(M, factors, strict=True)])

    def _collect(self, matrices: Sequence[FloatArray], *, average: bool = False) -> FloatArray:
        found = []
        for matrix, entries in zip(matrices, self.entries, strict=True):
            values = entries.weight * matrix[entries.rows, entries.columns]
            total = np.bincount(entries.index, values, entries.size)
            if average:
                total /= np.bincount(entries.index, entries.weight**2, entries.size)
            found.append(total)
        return end_to_end(found)

    def start(self, size: float) -> FloatArray:
        """Theta of Lambda = size * I in scaled columns."""
        return self.theta([size * np.eye(block.q) for block in self.design.blocks])

    def scaled_theta(self, raw: Sequence[float] | FloatArray, *, key: str = "theta") -> FloatArray:
        """A theta of raw columns, as fits report it, as that of scaled columns.

        Raises
        ------
        InputErrors
            it has another length than this model's theta; names `key`.
        """
        if len(raw) != self.size:
            names = ", ".join(term.text for block in self.design.blocks for term in block.terms)
            raise InputErrors.one(
                f"this model's theta has {self.size} numbers (lower triangles by columns of "
                f"{names}), and {len(raw)} are given"
                if names
                else f"this model has no random term, hence no theta, and {len(raw)} are given",
                key=key,
            )
        found, at = [], 0
        for block, entries, scale in zip(
            self.design.blocks, self.entries, self.scales, strict=True
        ):
            Lambda = np.zeros((block.q, block.q))
            here = np.array(raw[at : at + entries.size], dtype=np.float64)
            Lambda[entries.rows, entries.columns] = here[entries.index]
            at += entries.size
            found.append(lower_factor(scale.R @ Lambda))
        return self.theta(found)

    def raw_theta(self, theta: FloatArray) -> FloatArray:
        """Theta of raw columns, with theta_ii >= 0."""
        found = []
        for index, entries in enumerate(self.entries):
            Lambda = self.raw_factor(index, theta)
            first = np.searchsorted(entries.index, np.arange(entries.size))
            found.append(Lambda[entries.rows[first], entries.columns[first]])
        return end_to_end(found)

    def raw_factor(self, index: int, theta: FloatArray) -> FloatArray:
        """Lambda of one block in raw columns: lower triangular, diagonal >= 0."""
        return lower_factor(np.linalg.solve(self.scales[index].R, self.factors(theta)[index]))

    def sweep(self, theta: FloatArray) -> Swept:
        """One pass of the kernel."""
        factors = self.factors(theta)
        if isinstance(self.products, Gram):
            return one_factor(factors[0], self.products) if factors else NoFactor(self.products.T)
        from hlm_models.algebra.crossed import sweep

        return sweep(factors, self.products)

    def at(self, theta: FloatArray, *, reml: bool) -> Profiled:
        """Criterion in scaled columns, its derivatives, and beta and sigma at their best."""
        return profiled(self.sweep(theta), self.products.n, reml=reml, sigma=self.design.sigma)

    def objective(self, theta: FloatArray, *, reml: bool) -> tuple[float, FloatArray]:
        """Criterion in scaled columns and gradient; infinite where it cannot be computed."""
        with np.errstate(all="ignore"):
            try:
                at = self.at(theta, reml=reml)
            except np.linalg.LinAlgError:
                return np.inf, np.full(len(theta), np.nan)
            return at.value, self.gradient(theta, at.M)

    def full(self, phi: FloatArray, *, reml: bool) -> tuple[float, FloatArray]:
        """Deviance in scaled columns at phi = (theta, log sigma), beta profiled out; gradient."""
        theta, sigma = phi[:-1], float(np.exp(phi[-1]))
        value, M, slope = full_deviance(self.sweep(theta), self.design.n, sigma, reml=reml)
        return value, np.append(self.gradient(theta, M), slope)

    def beta(self, at: Profiled) -> FloatArray:
        """Coefficients (p,) of the raw columns."""
        return np.linalg.solve(self.design.x_scaling.R, at.beta + self.design.y_fit)

    def vcov(self, sigma: float, factor: FloatArray) -> FloatArray:
        """Var(beta) (p, p) of the raw columns, from sigma and the factor of S_xx."""
        half = np.linalg.solve(factor, np.linalg.inv(self.design.x_scaling.R).T) * sigma
        return np.asarray(half.T @ half)

    def prediction_variance(
        self,
        theta: FloatArray,
        sigma: float,
        x: FloatArray,
        z: tuple[FloatArray, ...],
        level: tuple[IntArray, ...],
    ) -> tuple[FloatArray, FloatArray]:
        """Variance of x'(beta^ - beta) + z'(b^ - b), all columns raw, theta taken as known.

        As a sum of two (m,): what comes of not knowing beta, which b^ follows, and what is left
        of b where beta is known. `z` and `level` have one entry a block: (m, q) and (m,), where a
        level of -1 adds nothing.

        Source: Henderson (1975), doi:10.2307/2529430: the inverse of the mixed model equations.
        """
        found = self.sweep(theta)
        p = self.design.p
        factor = np.linalg.cholesky(found.S[:p, :p])
        # Scaling.apply would centre on the data; a row of z enters linearly, so only R matters.
        scaled = tuple(
            np.linalg.solve(scale.R.T, part.T).T for scale, part in zip(self.scales, z, strict=True)
        )
        direct = np.linalg.solve(self.design.x_scaling.R.T, x.T).T
        for gain, part, at in zip(found.gains(), scaled, level, strict=True):
            seen = np.einsum("ma,mac->mc", part, gain[at, :, :p])
            direct = direct - np.where((at >= 0)[:, None], seen, 0.0)
        half = np.linalg.solve(factor, direct.T)
        left = np.zeros(len(x)) + found.quadratic(scaled, level)
        return sigma**2 * np.sum(half**2, axis=0), sigma**2 * left

    def second_order(self, theta: FloatArray, at: Profiled, *, reml: bool) -> SecondOrder:
        """Central differences in theta of exact derivatives; what sigma does is in closed form.

        `at` is the criterion at `theta`; sigma is the one there.
        """
        sigma = at.sigma
        m, p = len(theta) + 1, self.design.p
        # A theta is small or large beside what the rows of a level tell of it.
        small = [
            np.full(entries.size, np.sqrt(block.J / self.design.n))
            for block, entries in zip(self.design.blocks, self.entries, strict=True)
        ]
        unit = np.append(np.maximum(np.abs(theta), end_to_end(small)), 1.0)
        H, slopes = np.empty((m, m)), np.empty((m, p, p))
        for i in range(m - 1):
            h = 1e-4 * unit[i]
            ends = []
            for by in (h, -h):
                there = theta.copy()
                there[i] += by
                found = self.sweep(there)
                _, M, slope = full_deviance(found, self.design.n, sigma, reml=reml)
                vcov = sigma**2 * np.linalg.inv(found.S[:p, :p])
                ends.append((np.append(self.gradient(there, M), slope), vcov, there[i]))
            (up, v_up, x_up), (down, v_down, x_down) = ends
            H[i] = (up - down) / (x_up - x_down)
            slopes[i] = (v_up - v_down) / (x_up - x_down)
        H[-1, :-1] = H[:-1, -1]
        H[-1, -1] = 4 * at.r2 / sigma**2
        # Differences of raw columns would lose the digits that their means have in common.
        back = np.linalg.inv(self.design.x_scaling.R)
        slopes[:-1] = back @ slopes[:-1] @ back.T
        slopes[-1] = 2 * self.vcov(sigma, at.factor)
        return SecondOrder((H + H.T) / 2, unit, slopes, known=self.design.sigma is not None)


def end_to_end(parts: Sequence[FloatArray]) -> FloatArray:
    """The parts of all blocks one after the other; of no block, nothing."""
    return np.concatenate(parts) if parts else np.zeros(0)


def lower_factor(root: FloatArray) -> FloatArray:
    """Lower triangular L with L L' = root root' and diagonal >= 0, also where it is singular."""
    L: FloatArray = np.linalg.qr(root.T, mode="r").T
    # Rows may be in far-apart units: each is held against its own length.
    L = np.where(np.abs(L) < 1e-15 * np.linalg.norm(L, axis=1, keepdims=True), 0.0, L)
    sign = np.where(np.diag(L) < 0, -1.0, 1.0)
    return np.asarray(L * sign)
