"""The exponential prior of a standard deviation."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import PositiveFloat

from hlm_models.parts.priors._contract import Auto, Elementary, Place, Prior
from hlm_models.types import FloatArray


class Exponential(Prior):
    """Density exp(-x / scale) / scale; `scale` is the mean (one over the rate)."""

    places: ClassVar[frozenset[Place]] = frozenset({"scale"})
    kind: Literal["exponential"] = "exponential"
    scale: PositiveFloat | Auto = "auto"

    def log_density(self, x: FloatArray, *, place: Place) -> FloatArray:
        scale = self.settled("scale")
        return np.where(x >= 0, -x / scale - math.log(scale), -np.inf)

    def draw(self, rng: np.random.Generator, size: int, *, place: Place) -> FloatArray:
        return rng.exponential(self.settled("scale"), size)

    def elementary(self, *, place: Place) -> Elementary:
        top = float(self.log_density(np.zeros(()), place=place))
        return Elementary(constant=top, lower=0.0, linear=-1 / self.settled("scale"))

    @classmethod
    def _pymc(
        cls, name: str, settings: Mapping[str, FloatArray], *, place: Place, **keywords: Any
    ) -> Any:
        import pymc as pm

        return pm.Exponential(name, scale=settings["scale"], **keywords)
