"""Independent effects."""

from typing import Any, ClassVar, Literal

import numpy as np

from hlm_models.parts.covariances._contract import Separate, Structure
from hlm_models.parts.priors import pymc_vector
from hlm_models.types import FloatArray


class Diagonal(Separate):
    """Psi = diag(sd^2): the effects of the term are independent."""

    correlated: ClassVar[bool] = False
    structure: ClassVar[Structure] = "diagonal"
    kind: Literal["diagonal"] = "diagonal"

    def log_density(self, sd: FloatArray, corr: FloatArray) -> FloatArray:
        independent = np.all(corr == np.eye(sd.shape[-1]), axis=(-2, -1))
        return np.where(independent, self._log_density_sd(sd), -np.inf)

    def draw(self, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        sd = self._draw_sd(rng)
        return sd, np.eye(len(sd))

    def pymc(self, label: str, dims: str | None) -> tuple[Any, Any]:
        import pytensor.tensor as pt

        priors = self.sd_priors()
        return pymc_vector(f"sd_{label}", priors, place="scale", dims=dims), pt.eye(len(priors))

    def partial_shapes(self) -> FloatArray:
        return np.zeros(0)
