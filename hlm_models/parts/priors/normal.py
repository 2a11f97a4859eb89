"""The normal prior of a coefficient."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import PositiveFloat

from hlm_models.parts.priors._contract import Auto, Elementary, Place, Prior
from hlm_models.types import FloatArray


class Normal(Prior):
    """N(loc, scale^2); `scale` is a standard deviation."""

    places: ClassVar[frozenset[Place]] = frozenset({"location"})
    kind: Literal["normal"] = "normal"
    loc: float | Auto = "auto"
    scale: PositiveFloat | Auto = "auto"

    def log_density(self, x: FloatArray, *, place: Place) -> FloatArray:
        loc, scale = self.settled("loc"), self.settled("scale")
        return -0.5 * ((x - loc) / scale) ** 2 - math.log(scale) - 0.5 * math.log(2 * math.pi)

    def draw(self, rng: np.random.Generator, size: int, *, place: Place) -> FloatArray:
        return rng.normal(self.settled("loc"), self.settled("scale"), size)

    def normal_form(self) -> tuple[float, float]:
        scale = self.settled("scale")
        # Of a response too small to square the scale is 0; a fit then says so.
        return self.settled("loc"), 1.0 / scale / scale if scale > 0 else math.inf

    def elementary(self, *, place: Place) -> Elementary:
        loc = self.settled("loc")
        top = float(self.log_density(np.asarray(loc), place=place))
        return Elementary(
            constant=top, loc=loc, quadratic=0.5 / self.settled("scale") / self.settled("scale")
        )

    @classmethod
    def _pymc(
        cls, name: str, settings: Mapping[str, FloatArray], *, place: Place, **keywords: Any
    ) -> Any:
        import pymc as pm

        return pm.Normal(name, mu=settings["loc"], sigma=settings["scale"], **keywords)
