"""The R2D2 prior: a prior of the explained variance, shared out among the coefficients."""

from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, PositiveFloat

from hlm_models.parts.shrinkage._contract import Hyperparameters, Shrinkage
from hlm_models.types import FloatArray


class R2D2(Shrinkage):
    """u_k ~ N(0, residual^2 phi_k R2 / (1 - R2)), phi ~ Dirichlet(cons_d2, ..., cons_d2).

    R2 ~ Beta(mean_r2 prec_r2, (1 - mean_r2) prec_r2) is the share of the variance that
    uncorrelated columns explain, beside the residual variance. The density is by R2 and the first
    D - 1 of phi.

    Source: Zhang et al. (2022), doi:10.1080/01621459.2020.1825449, where u_k given phi is double
    exponential. It is normal here, as in brms.
    """

    common: ClassVar[tuple[str, ...]] = ("r2_beta",)
    local: ClassVar[tuple[str, ...]] = ("phi_beta",)
    kind: Literal["r2d2"] = "r2d2"
    mean_r2: Annotated[float, Field(gt=0, lt=1)] = 0.5
    prec_r2: PositiveFloat = 2.0
    cons_d2: PositiveFloat = 0.5

    def resolve(self, *, count: int, rows: int, spread: float) -> Self:
        return self

    @property
    def _shapes(self) -> tuple[float, float]:
        """Parameters of the beta distribution of R2."""
        return self.mean_r2 * self.prec_r2, (1 - self.mean_r2) * self.prec_r2

    def scales(self, values: Hyperparameters, residual: FloatArray) -> FloatArray:
        r2 = values["r2_beta"]
        tau = residual * np.sqrt(r2 / (1 - r2))
        return np.asarray(tau[..., None] * np.sqrt(values["phi_beta"]))

    def log_density_hyper(self, values: Hyperparameters, residual: FloatArray) -> FloatArray:
        from scipy.special import betaln, gammaln

        r2, phi = values["r2_beta"], values["phi_beta"]
        a, b = self._shapes
        count, cons = phi.shape[-1], self.cons_d2
        inside = (r2 > 0) & (r2 < 1) & np.all(phi > 0, axis=-1)
        inside = inside & (np.abs(np.sum(phi, axis=-1) - 1) < 1e-9)
        with np.errstate(all="ignore"):
            total = (a - 1) * np.log(r2) + (b - 1) * np.log1p(-r2) - betaln(a, b)
            total = total + (cons - 1) * np.sum(np.log(phi), axis=-1)
        total = total + gammaln(count * cons) - count * gammaln(cons)
        return np.where(inside, total, -np.inf)

    def draw_hyper(
        self, rng: np.random.Generator, count: int, residual: FloatArray
    ) -> dict[str, FloatArray]:
        r2 = rng.beta(*self._shapes, len(residual))
        phi = rng.dirichlet(np.full(count, self.cons_d2), len(residual))
        # Neither is at the end of its range, but for rounding.
        return {
            "r2_beta": np.minimum(r2, np.nextafter(1.0, 0.0)),
            "phi_beta": np.maximum(phi, np.finfo(np.float64).tiny),
        }

    def pymc(self, residual: Any, count: int, dims: str) -> Any:
        import pymc as pm
        import pytensor.tensor as pt

        a, b = (np.asarray(one) for one in self._shapes)
        r2 = pm.Beta("r2_beta", alpha=a, beta=b)
        if count == 1:
            phi = pm.Deterministic("phi_beta", pt.ones(1), dims=dims)
        else:
            phi = pm.Dirichlet("phi_beta", a=np.full(count, self.cons_d2), dims=dims)
        return residual * pt.sqrt(phi * r2 / (1 - r2))

    def free(self, count: int) -> int:
        return count

    def has_mean(self, name: str) -> bool:
        # The density of tau falls off with the power 2 b + 1.
        return name == "r2_beta" or self._shapes[1] > 0.5

    def law(self, name: str, spread: float) -> str:
        return f"r2d2: normal(0, residual sd sqrt(phi[{name}] R2 / (1 - R2)) / {spread:.6g})"

    def rows(self, count: int) -> list[tuple[str, str]]:
        a, b = self._shapes
        return [
            ("r2_beta", f"beta({a:.6g}, {b:.6g})"),
            ("phi_beta", f"dirichlet({self.cons_d2:.6g}), {count} shares"),
        ]
