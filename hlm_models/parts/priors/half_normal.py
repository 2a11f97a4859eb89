"""The half-normal prior of a standard deviation."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import PositiveFloat

from hlm_models.parts.priors._contract import Auto, Elementary, Place, Prior
from hlm_models.types import FloatArray


class HalfNormal(Prior):
    """|N(0, scale^2)|: positive density at zero, normal tail."""

    places: ClassVar[frozenset[Place]] = frozenset({"scale"})
    kind: Literal["half_normal"] = "half_normal"
    scale: PositiveFloat | Auto = "auto"

    def log_density(self, x: FloatArray, *, place: Place) -> FloatArray:
        scale = self.settled("scale")
        inside = -0.5 * (x / scale) ** 2 - math.log(scale) + 0.5 * math.log(2 / math.pi)
        return np.where(x >= 0, inside, -np.inf)

    def draw(self, rng: np.random.Generator, size: int, *, place: Place) -> FloatArray:
        return np.abs(rng.normal(0.0, self.settled("scale"), size))

    def elementary(self, *, place: Place) -> Elementary:
        top = float(self.log_density(np.zeros(()), place=place))
        return Elementary(
            constant=top, lower=0.0, quadratic=0.5 / self.settled("scale") / self.settled("scale")
        )

    @classmethod
    def _pymc(
        cls, name: str, settings: Mapping[str, FloatArray], *, place: Place, **keywords: Any
    ) -> Any:
        import pymc as pm

        return pm.HalfNormal(name, sigma=settings["scale"], **keywords)
