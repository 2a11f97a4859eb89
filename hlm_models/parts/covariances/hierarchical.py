"""Correlated effects with half-t standard deviations: a mixture of inverse Wisharts."""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, PositiveFloat
from scipy.special import gammaln, multigammaln

from hlm_models.errors import InputErrors, nearest
from hlm_models.parts.covariances._contract import MatrixForm
from hlm_models.parts.covariances._correlations import log_beta_corr
from hlm_models.parts.covariances._matrix import MatrixPrior, draw_inverse_wishart
from hlm_models.parts.priors import Auto, Prior, VarianceForm
from hlm_models.parts.priors.half_student_t import HalfStudentT
from hlm_models.types import FloatArray

Size = PositiveFloat | Auto


class Hierarchical(MatrixPrior):
    """A mixture over a: Psi | a ~ inverse Wishart(df + q - 1, 2 df diag(1 / a)).

    With a_k ~ inverse gamma(1/2, 1 / scale_k^2).
    Each sd_k is half Student t with these df and scale_k, and each correlation has a density
    proportional to (1 - r^2)^(df / 2 - 1): uniform with df 2. With a integrated out the density is
    proportional to |Psi|^(-(df + 2 q)/2) prod_k (1 + df scale_k^2 (Psi^-1)_kk)^(-(df + q)/2).

    Source: Huang and Wand (2013), doi:10.1214/13-BA815, equation (2) and properties 2 to 4.
    """

    kind: Literal["hierarchical"] = "hierarchical"
    df: PositiveFloat = 2.0
    scale: Annotated[
        Size | dict[str, Size], Field(description="Of every sd, one number or one by effect.")
    ] = "auto"

    def resolve(self, effects: Sequence[str], scales: Sequence[float]) -> Self:
        given: Mapping[str, float | str] = (
            self.scale if isinstance(self.scale, dict) else dict.fromkeys(effects, self.scale)
        )
        unknown = [name for name in given if name not in effects]
        if unknown:
            raise InputErrors.one(
                f"scale names '{unknown[0]}', which is not an effect of this term"
                f"{nearest(unknown[0], effects)} (effects: {', '.join(effects)})",
                key="scale",
            )
        sizes = {
            effect: auto if given.get(effect, "auto") == "auto" else given[effect]
            for effect, auto in zip(effects, scales, strict=True)
        }
        return self.model_copy(update={"scale": sizes})

    @property
    def spread(self) -> FloatArray:
        """The scales (q,) as numbers."""
        assert isinstance(self.scale, dict), "covariance is not resolved yet"
        return np.array([float(one) for one in self.scale.values()])

    def sd_priors(self) -> list[Prior]:
        return [HalfStudentT(df=self.df, scale=one) for one in self.spread.tolist()]

    def draw(self, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        q = len(self.spread)
        inverse = rng.gamma(0.5, self.spread**2)
        return draw_inverse_wishart(rng, self.df + q - 1, 2 * self.df * np.diag(inverse))

    def matrix_form(self) -> MatrixForm:
        spread = self.spread
        q, df = len(spread), self.df
        m = df + q - 1
        # Of the inverse Wishart, then of a, whose integral is Gamma((df + q)/2) rate^-((df + q)/2).
        constant = m * q / 2 * math.log(2 * df) - m * q / 2 * math.log(2)
        constant -= float(multigammaln(m / 2, q))
        power = (df + q) / 2
        constant += float(
            np.sum(gammaln(power) - gammaln(0.5) - np.log(spread) + 2 * power * np.log(spread))
        )
        return MatrixForm(constant, -(m + q + 1) / 2, np.zeros((q, q)), power, df * spread**2)

    def variance_forms(self) -> list[VarianceForm | None]:
        q = len(self.spread)
        return [VarianceForm(self.df + q - 1, np.zeros((q, q)), self.df, self.spread)]

    def log_density_corr(self, r: FloatArray, row: int, column: int) -> FloatArray:
        return log_beta_corr(r, self.df / 2)

    def __str__(self) -> str:
        sizes = ", ".join(f"{one:.6g}" for one in self.spread.tolist())
        return f"hierarchical({self.df:g}, {sizes})"
