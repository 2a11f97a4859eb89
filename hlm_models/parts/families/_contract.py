"""What a family of response distributions must do."""

from typing import Any

import numpy as np

from hlm_models.parts.shelf import Part
from hlm_models.types import FloatArray

__all__ = ["Family"]


class Family(Part):
    """Distribution of the response given its linear predictor and a residual scale."""

    def log_density(self, y: FloatArray, eta: FloatArray, scale: FloatArray | float) -> FloatArray:
        """Normalised log density of each y given its linear predictor, broadcast."""
        raise NotImplementedError

    def draw(
        self, rng: np.random.Generator, eta: FloatArray, scale: FloatArray | float
    ) -> FloatArray:
        """One response for each element of `eta`."""
        raise NotImplementedError

    def pymc(self, name: str, eta: Any, scale: Any, *, observed: Any, dims: str) -> Any:
        """The PyMC likelihood."""
        raise NotImplementedError
