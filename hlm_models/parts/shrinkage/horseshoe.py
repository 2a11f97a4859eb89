"""The regularised horseshoe."""

import math
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import PositiveFloat, model_validator

from hlm_models.errors import InputErrors
from hlm_models.parts.priors import Auto
from hlm_models.parts.priors.half_student_t import HalfStudentT
from hlm_models.parts.priors.inverse_gamma import InverseGamma
from hlm_models.parts.shrinkage._contract import Hyperparameters, Shrinkage
from hlm_models.types import FloatArray


class Horseshoe(Shrinkage):
    """u_k ~ N(0, tau^2 l_k^2), l_k^2 = c^2 lambda_k^2 / (c^2 + tau^2 lambda_k^2).

    lambda_k ~ half Student t(df, 1), tau ~ half Student t(df_global, scale_global residual) and
    c^2 ~ inverse gamma(slab_df / 2, slab_df slab_scale^2 / 2). tau and c are in units of the
    response. Small coefficients are pulled to zero by tau; large ones are Student t with the
    slab's df and scale. `expected` is p0, how many of D coefficients matter: scale_global is then
    p0 / (D - p0) / sqrt(n). The density is by tau, c and every lambda_k.

    Source: Piironen and Vehtari (2017), doi:10.1214/17-EJS1337SI.
    """

    common: ClassVar[tuple[str, ...]] = ("tau_beta", "slab_beta")
    local: ClassVar[tuple[str, ...]] = ("lambda_beta",)
    kind: Literal["horseshoe"] = "horseshoe"
    df: PositiveFloat = 1.0
    df_global: PositiveFloat = 1.0
    expected: PositiveFloat | Auto = "auto"
    scale_global: PositiveFloat | Auto = "auto"
    slab_df: PositiveFloat = 4.0
    slab_scale: PositiveFloat | Auto = "auto"

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if self.expected != "auto" and self.scale_global != "auto":
            raise ValueError("expected and scale_global say the same thing: leave one of them out")
        return self

    def resolve(self, *, count: int, rows: int, spread: float) -> Self:
        expected = count / 4 if self.expected == "auto" else self.expected
        if expected >= count:
            raise InputErrors.one(
                f"expected is how many of the coefficients matter, so it must be below the "
                f"{count} that the prior holds for, and it is {expected:g}",
                key="expected",
            )
        scale = expected / (count - expected) / math.sqrt(rows)
        numbers = {
            "expected": "auto",
            "scale_global": scale if self.scale_global == "auto" else self.scale_global,
            "slab_scale": 2.5 * spread if self.slab_scale == "auto" else self.slab_scale,
        }
        return self.model_copy(update=numbers)

    @property
    def _ratio(self) -> HalfStudentT:
        """Prior of tau / residual."""
        assert self.scale_global != "auto", "horseshoe is not resolved yet"
        return HalfStudentT(df=self.df_global, scale=self.scale_global)

    @property
    def _lambda(self) -> HalfStudentT:
        return HalfStudentT(df=self.df, scale=1.0)

    @property
    def _slab(self) -> InverseGamma:
        """Prior of c, as that of its square."""
        assert self.slab_scale != "auto", "horseshoe is not resolved yet"
        return InverseGamma(shape=self.slab_df / 2, scale=self.slab_df * self.slab_scale**2 / 2)

    def scales(self, values: Hyperparameters, residual: FloatArray) -> FloatArray:
        tau, slab = values["tau_beta"][..., None], values["slab_beta"][..., None]
        wide = tau * values["lambda_beta"]
        return np.asarray(wide / np.hypot(1.0, wide / slab))

    def log_density_hyper(self, values: Hyperparameters, residual: FloatArray) -> FloatArray:
        ratio = values["tau_beta"] / residual
        total = self._ratio.log_density(ratio, place="scale") - np.log(residual)
        total = total + self._slab.log_density(values["slab_beta"], place="scale")
        each = self._lambda.log_density(values["lambda_beta"], place="scale")
        return np.asarray(total + np.sum(each, axis=-1))

    def draw_hyper(
        self, rng: np.random.Generator, count: int, residual: FloatArray
    ) -> dict[str, FloatArray]:
        size = len(residual)
        each = self._lambda.draw(rng, size * count, place="scale")
        return {
            "tau_beta": residual * self._ratio.draw(rng, size, place="scale"),
            "slab_beta": self._slab.draw(rng, size, place="scale"),
            "lambda_beta": each.reshape(size, count),
        }

    def pymc(self, residual: Any, count: int, dims: str) -> Any:
        import pymc as pm
        import pytensor.tensor as pt

        ratio = HalfStudentT.pymc("ratio_beta", self._ratio.numbers(), place="scale")
        tau = pm.Deterministic("tau_beta", ratio * residual)
        slab = InverseGamma.pymc("slab_beta", self._slab.numbers(), place="scale")
        each = HalfStudentT.pymc("lambda_beta", self._lambda.numbers(), place="scale", dims=dims)
        wide = tau * each
        return wide / pt.sqrt(1 + pt.sqr(wide / slab))

    def free(self, count: int) -> int:
        return count + 2

    def has_mean(self, name: str) -> bool:
        # Of a coefficient: the slab and the shrinkage must both be large for it to be so.
        least = min(self.df, self.df_global)
        return self.df_global > 1 if name == "tau_beta" else self.slab_df + least > 1

    def law(self, name: str, spread: float) -> str:
        return f"horseshoe: normal(0, tau l[{name}] / {spread:.6g})"

    def rows(self, count: int) -> list[tuple[str, str]]:
        ratio, slab = self._ratio, self._slab
        return [
            ("tau_beta", f"half_student_t({ratio.df:.6g}, {ratio.scale:.6g} residual sd)"),
            ("lambda_beta", f"{self._lambda}, each of {count}"),
            ("slab_beta", f"its square: {slab}"),
        ]
