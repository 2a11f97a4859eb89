"""The half Student t prior of a standard deviation."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import PositiveFloat

from hlm_models.parts.priors._contract import Auto, Elementary, Place, Prior, VarianceForm
from hlm_models.types import FloatArray


class HalfStudentT(Prior):
    """|scale * t_df|; df 1 is half-Cauchy (Gelman 2006, doi:10.1214/06-BA117A, section 3)."""

    places: ClassVar[frozenset[Place]] = frozenset({"scale"})
    kind: Literal["half_student_t"] = "half_student_t"
    df: PositiveFloat = 3.0
    scale: PositiveFloat | Auto = "auto"

    def log_density(self, x: FloatArray, *, place: Place) -> FloatArray:
        scale, df = self.settled("scale"), self.df
        constant = math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - 0.5 * math.log(df * math.pi)
        inside = constant + math.log(2 / scale) - (df + 1) / 2 * np.log1p((x / scale) ** 2 / df)
        return np.where(x >= 0, inside, -np.inf)

    def draw(self, rng: np.random.Generator, size: int, *, place: Place) -> FloatArray:
        return np.abs(self.settled("scale") * rng.standard_t(self.df, size))

    def elementary(self, *, place: Place) -> Elementary:
        top = float(self.log_density(np.zeros(()), place=place))
        spread = self.df * self.settled("scale") ** 2
        return Elementary(constant=top, lower=0.0, weight=(self.df + 1) / 2, spread=spread)

    def variance_form(self) -> VarianceForm:
        """A mixture of inverse gammas.

        Source: Wand et al. (2011), doi:10.1214/11-BA631, result 5.
        """
        spread = np.array([self.settled("scale")])
        return VarianceForm(nu=self.df, scale=np.zeros((1, 1)), df=self.df, spread=spread)

    @classmethod
    def _pymc(
        cls, name: str, settings: Mapping[str, FloatArray], *, place: Place, **keywords: Any
    ) -> Any:
        import pymc as pm

        return pm.HalfStudentT(name, nu=settings["df"], sigma=settings["scale"], **keywords)
