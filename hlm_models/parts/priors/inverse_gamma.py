"""The inverse-gamma prior of a variance, as a prior of its standard deviation."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import PositiveFloat

from hlm_models.parts.priors._contract import Elementary, Place, Prior, VarianceForm
from hlm_models.types import FloatArray


class InverseGamma(Prior):
    """x^2 ~ inverse gamma(shape, scale): 1 / x^2 is gamma with that shape and that rate.

    The density of x is 2 scale^shape / Gamma(shape) x^(-2 shape - 1) exp(-scale / x^2). Of nu0
    prior observations with the variance s0^2, shape is nu0 / 2 and scale nu0 s0^2 / 2.
    """

    places: ClassVar[frozenset[Place]] = frozenset({"scale"})
    kind: Literal["inverse_gamma"] = "inverse_gamma"
    shape: PositiveFloat
    scale: PositiveFloat

    def log_density(self, x: FloatArray, *, place: Place) -> FloatArray:
        inside = np.maximum(x, np.finfo(float).tiny)
        with np.errstate(over="ignore"):
            tail = self.scale / inside / inside
        values = self._constant - (2 * self.shape + 1) * np.log(inside) - tail
        return np.where(x > 0, values, -np.inf)

    def draw(self, rng: np.random.Generator, size: int, *, place: Place) -> FloatArray:
        # Of a shape near zero it may be too small for a number.
        precision = np.maximum(rng.gamma(self.shape, size=size), 1e-280)
        return np.asarray(np.sqrt(self.scale / precision))

    def elementary(self, *, place: Place) -> Elementary:
        return Elementary(
            constant=self._constant,
            lower=0.0,
            log_power=-(2 * self.shape + 1),
            inverse_square=self.scale,
        )

    def variance_form(self) -> VarianceForm:
        scale = np.array([[2 * self.scale]])
        return VarianceForm(nu=2 * self.shape, scale=scale, df=0.0, spread=np.ones(1))

    @property
    def _constant(self) -> float:
        return math.log(2) + self.shape * math.log(self.scale) - math.lgamma(self.shape)

    @classmethod
    def _pymc(
        cls, name: str, settings: Mapping[str, FloatArray], *, place: Place, **keywords: Any
    ) -> Any:
        import pymc as pm
        import pytensor.tensor as pt
        from pymc.distributions.shape_utils import rv_size_is_none

        shape, scale = settings["shape"], settings["scale"]

        def logp(x: Any, shape: Any, scale: Any) -> Any:
            constant = math.log(2) + shape * pt.log(scale) - pt.gammaln(shape)
            inside = constant - (2 * shape + 1) * pt.log(x) - scale / pt.sqr(x)
            return pt.switch(pt.gt(x, 0), inside, -np.inf)

        def mode(_: Any, size: Any, shape: Any, scale: Any) -> Any:
            # PyMC would start one that it does not know at 0, where there is no density.
            value = pt.sqrt(scale / (shape + 0.5))
            return value if rv_size_is_none(size) else pt.full(size, value)

        def draw(
            shape: FloatArray, scale: FloatArray, rng: np.random.Generator, size: Any = None
        ) -> FloatArray:
            return np.asarray(np.sqrt(scale / rng.gamma(shape, size=size)))

        words = _positive(keywords)
        return pm.CustomDist(
            name, shape, scale, logp=logp, random=draw, support_point=mode, **words
        )


def _positive(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords with the transform that PyMC cannot know of a distribution of our own."""
    from pymc.distributions.transforms import log

    return {"default_transform": log, **keywords}
