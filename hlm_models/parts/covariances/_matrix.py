"""Priors of Psi as a whole, rather than of standard deviations and correlations apart."""

import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import BeforeValidator, Field
from scipy.special import gammaln, hyp2f1, multigammaln

from hlm_models.errors import InputErrors
from hlm_models.parts.covariances._contract import Covariance, MatrixForm, Structure
from hlm_models.parts.covariances._correlations import (
    corr_factor,
    lkj_constant,
    lkj_shapes,
    log_det,
)
from hlm_models.parts.priors import Auto, Prior, VarianceForm
from hlm_models.parts.priors.inverse_gamma import InverseGamma
from hlm_models.types import FloatArray

__all__ = ["InverseWishartLaw", "MatrixPrior", "draw_inverse_wishart"]


def rows_of(value: object) -> object:
    """What has rows; their numbers are looked at after this."""
    rows = value if isinstance(value, list | tuple) and value else [value]
    if not all(isinstance(row, list | tuple) for row in rows):
        raise ValueError(
            "expected the rows of a symmetric positive definite matrix: [[4, 0], [0, 1]] of two "
            "effects, [[4]] of one"
        )
    return value


Rows = Annotated[
    tuple[tuple[float, ...], ...],
    Field(min_length=1, description="Rows of a symmetric positive definite matrix (q, q)."),
    BeforeValidator(rows_of),
]
Nu = Annotated[float, Field(gt=0)] | Auto


class MatrixPrior(Covariance):
    """A density of Psi with respect to its lower triangle."""

    correlated: ClassVar[bool] = True
    single: ClassVar[bool] = True
    structure: ClassVar[Structure] = "unstructured"

    def matrix_form(self) -> MatrixForm:
        raise NotImplementedError

    def log_density(self, sd: FloatArray, corr: FloatArray) -> FloatArray:
        """Of sd and the strict lower triangle of corr, by which d Psi is 2^q prod sd^q."""
        q, form = sd.shape[-1], self.matrix_form()
        of_corr = log_det(corr)
        inside = np.isfinite(of_corr) & np.all(sd > 0, axis=-1)
        # Elsewhere the identity stands in, so that there is an inverse.
        sd = np.where(inside[..., None], sd, 1.0)
        corr = np.where(inside[..., None, None], corr, np.eye(q))
        log_sd = np.sum(np.log(sd), axis=-1)
        of_psi = np.where(inside, of_corr, 0.0) + 2 * log_sd
        inverse = np.linalg.inv(corr) / (sd[..., :, None] * sd[..., None, :])
        value = form.constant + form.log_det * of_psi
        value = value - np.sum(form.scale * inverse, axis=(-2, -1)) / 2
        if form.power:
            precisions = np.diagonal(inverse, axis1=-2, axis2=-1)
            value = value - form.power * np.sum(np.log1p(form.rate * precisions), axis=-1)
        return np.where(inside, value + q * math.log(2) + q * log_sd, -np.inf)

    def pymc(self, label: str, dims: str | None) -> tuple[Any, Any]:
        import pymc as pm
        import pytensor.tensor as pt

        form = self.matrix_form()
        q = len(form.rate)
        where = {"dims": dims} if dims else {"shape": q}
        sd = pm.HalfFlat(f"sd_{label}", initval=self._typical(), **where)
        factor = pt.eye(1)
        log_corr: Any = 0.0
        if q > 1:
            # Uniform over correlation matrices, which the potential takes off again.
            a = lkj_shapes(1.0, q)
            partial = 2 * pm.Beta(f"partial_{label}", alpha=a, beta=a, shape=len(a)) - 1
            factor = corr_factor(partial, q)
            log_corr = lkj_constant(1.0, q)
        log_det = 2 * pt.sum(pt.log(sd)) + 2 * pt.sum(pt.log(pt.diag(factor)))
        half = pt.linalg.solve_triangular(sd[:, None] * factor, pt.eye(q), lower=True)
        inverse = pt.dot(half.T, half)
        value = form.constant + form.log_det * log_det - pt.sum(form.scale * inverse) / 2
        if form.power:
            value -= form.power * pt.sum(pt.log1p(form.rate * pt.diag(inverse)))
        value += q * (math.log(2) + pt.sum(pt.log(sd))) + log_corr
        pm.Potential(f"covariance_{label}", value)
        return sd, factor

    def _typical(self) -> FloatArray:
        """Standard deviations (q,) to start from: of the mode, where a scale is given."""
        [form] = self.variance_forms()
        assert form is not None, "a prior of Psi as a whole is conjugate"
        size = np.diag(form.scale) + 2 * form.df * form.spread**2
        return np.sqrt(size / (form.nu + len(size) + 1))

    def rows(self, group: str, term: str, scales: Sequence[str]) -> list[tuple[str, str]]:
        q = len(self.matrix_form().rate)
        if q == 1:
            return [(scales[0], f"its square: {self}")]
        return [(f"Psi_{group} ({term})", str(self))]


class InverseWishartLaw(MatrixPrior):
    """Psi ~ inverse Wishart with the nu and the scale of `law`, for any nu above q - 1."""

    nu: Nu = "auto"
    scale: Rows

    def resolve(self, effects: Sequence[str], scales: Sequence[float]) -> Self:
        scale = resolved_scale(self.scale, effects)
        nu = resolved_nu(self.nu, len(effects))
        rows = tuple(tuple(row) for row in scale.tolist())
        return self.model_copy(update={"nu": nu, "scale": rows})

    def numbers(self) -> tuple[float, FloatArray]:
        """Nu and scale (q, q) as the model file gives them."""
        assert self.nu != "auto", "covariance is not resolved yet"
        return self.nu, np.array(self.scale)

    @property
    def law(self) -> tuple[float, FloatArray]:
        """Nu and the scale (q, q) of Psi itself."""
        raise NotImplementedError

    def sd_priors(self) -> list[Prior]:
        nu, scale = self.law
        shape = (nu - len(scale) + 1) / 2
        return [InverseGamma(shape=shape, scale=one / 2) for one in np.diag(scale).tolist()]

    def draw(self, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        return draw_inverse_wishart(rng, *self.law)

    def matrix_form(self) -> MatrixForm:
        return inverse_wishart_form(*self.law)

    def variance_forms(self) -> list[VarianceForm | None]:
        nu, scale = self.law
        return [VarianceForm(nu, scale, 0.0, np.ones(len(scale)))]

    def log_density_corr(self, r: FloatArray, row: int, column: int) -> FloatArray:
        return inverse_wishart_corr(r, *self.law, row, column)

    def __str__(self) -> str:
        nu, scale = self.numbers()
        rows = ", ".join("[" + ", ".join(f"{x:.6g}" for x in row) + "]" for row in scale.tolist())
        return f"{self.kind}({nu:g}, [{rows}])"


def _effects(q: int) -> str:
    return "effect" if q == 1 else "effects"


def resolved_nu(nu: float | Literal["auto"], q: int) -> float:
    """Degrees of freedom, q + 1 by default."""
    value = float(q + 1) if nu == "auto" else float(nu)
    if not value > q - 1:
        raise InputErrors.one(
            f"nu must be above {q - 1} for {q} {_effects(q)}, and it is {value:g}: leave it out "
            f"for {q + 1}",
            key="nu",
        )
    return value


def resolved_scale(rows: tuple[tuple[float, ...], ...], effects: Sequence[str]) -> FloatArray:
    """The matrix (q, q) of the rows that a model file gives."""
    q = len(effects)
    if len(rows) != q or any(len(row) != q for row in rows):
        shape = f"rows of {', '.join(str(len(row)) for row in rows)}"
        order = f" in this order: {', '.join(effects)}" if q > 1 else f", {effects[0]}"
        raise InputErrors.one(
            f"scale must be {q} by {q} for {q} {_effects(q)}{order}; it has {shape}", key="scale"
        )
    scale = np.array(rows, dtype=np.float64)
    if not np.isfinite(scale).all():
        raise InputErrors.one("scale must be finite", key="scale")
    root = np.sqrt(np.abs(np.diag(scale)))
    size = np.outer(root, root)
    if not np.all(np.abs(scale - scale.T) <= 1e-8 * size):
        i, j = np.argwhere(np.abs(scale - scale.T) > 1e-8 * size)[0].tolist()
        raise InputErrors.one(
            f"scale must be symmetric, and row {i + 1} has {scale[i, j]:g} where row {j + 1} has "
            f"{scale[j, i]:g}",
            key="scale",
        )
    scale = (scale + scale.T) / 2
    positive = bool(np.all(np.diag(scale) > 0))
    least = float(np.linalg.eigvalsh(scale / size)[0]) if positive else -math.inf
    if not least > 1e-12:
        raise InputErrors.one(
            "scale must be positive definite: a covariance matrix with no effect that is a sum of "
            "others; its diagonal are variances, not standard deviations",
            key="scale",
        )
    return scale


def inverse_wishart_form(nu: float, scale: FloatArray) -> MatrixForm:
    """Density |scale|^(nu/2) / (2^(nu q/2) Gamma_q(nu/2)) |Psi|^-((nu+q+1)/2) exp(-tr(..)/2)."""
    q = len(scale)
    log_det = float(np.linalg.slogdet(scale)[1])
    constant = nu / 2 * log_det - nu * q / 2 * math.log(2) - float(multigammaln(nu / 2, q))
    return MatrixForm(constant, -(nu + q + 1) / 2, scale, 0.0, np.zeros(q))


def draw_inverse_wishart(
    rng: np.random.Generator, nu: float, scale: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """One draw of Psi, as sd (q,) and corr (q, q).

    Psi^-1 ~ Wishart(nu, scale^-1) by Bartlett's decomposition, nu any number above q - 1.

    Source: Smith and Hocking (1972), doi:10.2307/2346290.
    """
    q = len(scale)
    A = np.tril(rng.standard_normal((q, q)), -1)
    # With next to no degrees of freedom it may be too small for a number.
    A[np.diag_indices(q)] = np.sqrt(np.maximum(rng.chisquare(nu - np.arange(q)), 1e-280))
    # Psi^-1 = L^-T A A' L^-1 with scale = L L', so Psi = M M' with M = L A^-T.
    M = np.linalg.cholesky(scale) @ np.linalg.inv(A).T
    Psi = M @ M.T
    sd = np.sqrt(np.diag(Psi))
    corr = Psi / np.outer(sd, sd)
    corr = (corr + corr.T) / 2
    np.fill_diagonal(corr, 1.0)
    return sd, corr


def inverse_wishart_corr(
    r: FloatArray, nu: float, scale: FloatArray, row: int, column: int
) -> FloatArray:
    """Marginal log density of one correlation of Psi ~ inverse Wishart(nu, scale).

    The two effects' block is inverse Wishart with nu - q + 2, and the correlation of a 2 x 2
    matrix is minus that of its inverse, which has the law of a correlation of normal samples.

    Source: Hotelling (1953), doi:10.1111/j.2517-6161.1953.tb00135.x, equation (25), with nu + 1
    observations.
    """
    m = nu - len(scale) + 2
    rho = scale[row, column] / math.sqrt(scale[row, row] * scale[column, column])
    # Of the inverse both have the other sign, and the density depends on their product alone.
    constant = math.log(m - 1) + gammaln(m) - gammaln(m + 0.5) - 0.5 * math.log(2 * math.pi)
    return np.asarray(
        constant
        + m / 2 * math.log1p(-(rho**2))
        + (m - 3) / 2 * np.log1p(-(r**2))
        - (m - 0.5) * np.log1p(-rho * r)
        + np.log(hyp2f1(0.5, 0.5, m + 0.5, (1 + rho * r) / 2))
    )
