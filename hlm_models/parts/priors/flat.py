"""The improper flat prior."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np

from hlm_models.errors import InputErrors
from hlm_models.parts.priors._contract import Elementary, Place, Prior, VarianceForm
from hlm_models.types import FloatArray


class Flat(Prior):
    """Density 1 on the real line, or on the positive half line for a scale; improper."""

    places: ClassVar[frozenset[Place]] = frozenset({"location", "scale"})
    proper: ClassVar[bool] = False
    kind: Literal["flat"] = "flat"

    def log_density(self, x: FloatArray, *, place: Place) -> FloatArray:
        return np.where((x >= 0) | (place == "location"), 0.0, -np.inf)

    def draw(self, rng: np.random.Generator, size: int, *, place: Place) -> FloatArray:
        raise InputErrors.one(
            "a flat prior is improper and cannot be drawn from; choose a proper one"
        )

    def normal_form(self) -> tuple[float, float]:
        return 0.0, 0.0

    def elementary(self, *, place: Place) -> Elementary:
        return Elementary(lower=-math.inf if place == "location" else 0.0)

    def variance_form(self) -> VarianceForm:
        """Density one in x is x^2 to the power -1/2 in x^2: an inverse gamma with -1 for its nu."""
        return VarianceForm(nu=-1.0, scale=np.zeros((1, 1)), df=0.0, spread=np.ones(1))

    @classmethod
    def _pymc(
        cls, name: str, settings: Mapping[str, FloatArray], *, place: Place, **keywords: Any
    ) -> Any:
        import pymc as pm

        size = {} if "dims" in keywords or "shape" in keywords else {"shape": ()}
        return (pm.Flat if place == "location" else pm.HalfFlat)(name, **size, **keywords)
