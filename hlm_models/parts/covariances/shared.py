"""Independent effects of one variance."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import field_validator

from hlm_models.parts.covariances._contract import Separate, Structure, one_or_each
from hlm_models.parts.priors import Prior, ScalePrior
from hlm_models.parts.priors.half_student_t import HalfStudentT
from hlm_models.types import FloatArray


class Shared(Separate):
    """Psi = sd^2 I: the effects of the term are independent and have one variance.

    `sd` is one prior, and the density is with respect to that one sd. Its scale, where it is
    `auto`, makes the effects move a row together as much as one effect with its own would.
    """

    correlated: ClassVar[bool] = False
    structure: ClassVar[Structure] = "shared"
    kind: Literal["shared"] = "shared"
    sd: ScalePrior = HalfStudentT()

    @field_validator("sd", mode="before")
    @classmethod
    def _one(cls, value: object) -> object:
        if isinstance(value, dict) and one_or_each(value) == "each":
            raise ValueError(
                "shared has one standard deviation for all effects: give one prior, "
                "or use diagonal for one each"
            )
        return value

    def resolve(self, effects: Sequence[str], scales: Sequence[float]) -> Self:
        together = float(np.sum(np.array(scales) ** -2.0)) ** -0.5
        return super().resolve(effects, [together] * len(effects))

    def sd_priors(self) -> list[Prior]:
        return super().sd_priors()[:1]

    def log_density(self, sd: FloatArray, corr: FloatArray) -> FloatArray:
        # Estimates of one variance in several units differ by rounding.
        same = np.all(np.isclose(sd, sd[..., :1], rtol=1e-12, atol=0.0), axis=-1)
        independent = np.all(corr == np.eye(sd.shape[-1]), axis=(-2, -1))
        return np.where(same & independent, self._log_density_sd(sd[..., :1]), -np.inf)

    def draw(self, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        q = len(super().sd_priors())
        return np.full(q, self._draw_sd(rng)), np.eye(q)

    def pymc(self, label: str, dims: str | None) -> tuple[Any, Any]:
        import pymc as pm
        import pytensor.tensor as pt

        q, [prior] = len(super().sd_priors()), self.sd_priors()
        one = type(prior).pymc(f"shared_{label}", prior.numbers(), place="scale")
        return pm.Deterministic(f"sd_{label}", pt.repeat(one, q), dims=dims), pt.eye(q)

    def partial_shapes(self) -> FloatArray:
        return np.zeros(0)
