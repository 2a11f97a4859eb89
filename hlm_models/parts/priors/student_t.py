"""The Student t prior of a coefficient."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import PositiveFloat

from hlm_models.parts.priors._contract import Auto, Elementary, Place, Prior
from hlm_models.types import FloatArray


class StudentT(Prior):
    """loc + scale * t_df; df 1 is Cauchy."""

    places: ClassVar[frozenset[Place]] = frozenset({"location"})
    kind: Literal["student_t"] = "student_t"
    df: PositiveFloat = 3.0
    loc: float | Auto = "auto"
    scale: PositiveFloat | Auto = "auto"

    def log_density(self, x: FloatArray, *, place: Place) -> FloatArray:
        loc, scale, df = self.settled("loc"), self.settled("scale"), self.df
        constant = math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - 0.5 * math.log(df * math.pi)
        kernel = -(df + 1) / 2 * np.log1p(((x - loc) / scale) ** 2 / df)
        return constant - math.log(scale) + kernel

    def draw(self, rng: np.random.Generator, size: int, *, place: Place) -> FloatArray:
        return self.settled("loc") + self.settled("scale") * rng.standard_t(self.df, size)

    def elementary(self, *, place: Place) -> Elementary:
        loc = self.settled("loc")
        top = float(self.log_density(np.asarray(loc), place=place))
        spread = self.df * self.settled("scale") ** 2
        return Elementary(constant=top, loc=loc, weight=(self.df + 1) / 2, spread=spread)

    @classmethod
    def _pymc(
        cls, name: str, settings: Mapping[str, FloatArray], *, place: Place, **keywords: Any
    ) -> Any:
        import pymc as pm

        df, mu, sigma = settings["df"], settings["loc"], settings["scale"]
        return pm.StudentT(name, nu=df, mu=mu, sigma=sigma, **keywords)
