"""The Gaussian family."""

import math
from typing import Any, Literal

import numpy as np

from hlm_models.parts.families._contract import Family
from hlm_models.types import FloatArray


class Gaussian(Family):
    """y ~ N(eta, scale^2), identity link."""

    kind: Literal["gaussian"] = "gaussian"

    def log_density(self, y: FloatArray, eta: FloatArray, scale: FloatArray | float) -> FloatArray:
        z = (y - eta) / scale
        return -0.5 * z**2 - np.log(scale) - 0.5 * math.log(2 * math.pi)

    def draw(
        self, rng: np.random.Generator, eta: FloatArray, scale: FloatArray | float
    ) -> FloatArray:
        return eta + scale * rng.standard_normal(np.shape(eta))

    def pymc(self, name: str, eta: Any, scale: Any, *, observed: Any, dims: str) -> Any:
        import pymc as pm

        return pm.Normal(name, mu=eta, sigma=scale, observed=observed, dims=dims)
