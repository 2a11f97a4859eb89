"""The uniform prior on an interval."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import model_validator

from hlm_models.parts.priors._contract import Elementary, Place, Prior
from hlm_models.types import FloatArray


class Uniform(Prior):
    """Uniform on (lower, upper); of a standard deviation only with lower >= 0."""

    places: ClassVar[frozenset[Place]] = frozenset({"location", "scale"})
    kind: Literal["uniform"] = "uniform"
    lower: float
    upper: float

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.lower < self.upper:
            raise ValueError(f"lower ({self.lower:g}) must be below upper ({self.upper:g})")
        return self

    def log_density(self, x: FloatArray, *, place: Place) -> FloatArray:
        inside = (x >= self.lower) & (x <= self.upper)
        return np.where(inside, -math.log(self.upper - self.lower), -np.inf)

    def draw(self, rng: np.random.Generator, size: int, *, place: Place) -> FloatArray:
        return rng.uniform(self.lower, self.upper, size)

    def elementary(self, *, place: Place) -> Elementary:
        inside = -math.log(self.upper - self.lower)
        return Elementary(constant=inside, lower=self.lower, upper=self.upper)

    @classmethod
    def _pymc(
        cls, name: str, settings: Mapping[str, FloatArray], *, place: Place, **keywords: Any
    ) -> Any:
        import pymc as pm

        return pm.Uniform(name, lower=settings["lower"], upper=settings["upper"], **keywords)
