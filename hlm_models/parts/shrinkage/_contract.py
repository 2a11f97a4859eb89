"""What a prior of many coefficients together must do."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import numpy as np

from hlm_models.parts.priors import Place, Prior
from hlm_models.parts.shelf import Part
from hlm_models.types import FloatArray

__all__ = ["Hyperparameters", "Shrinkage", "Shrunk"]

Hyperparameters = Mapping[str, FloatArray]
"""Values by name: (...) of one for all coefficients, (..., D) of one for each."""


class Shrinkage(Part):
    """D coefficients that are independent and normal, given hyperparameters of their own.

    It is a prior of u_k = beta_k s_k, with s_k the standard deviation of column k: of what a
    coefficient does to the response as its column moves by one standard deviation. `residual` is
    the residual standard deviation of a typical row, to which the prior is relative. `common` and
    `local` name the hyperparameters, those for all coefficients and those for each; the first of
    `common` is one that a summary shows.
    """

    common: ClassVar[tuple[str, ...]]
    local: ClassVar[tuple[str, ...]]

    def resolve(self, *, count: int, rows: int, spread: float) -> Self:
        """The same prior with numbers in place of `auto`.

        Parameters
        ----------
        count : D
        rows : rows of the data
        spread : standard deviation of the response

        Raises
        ------
        InputErrors
            the settings do not fit so many coefficients.
        """
        raise NotImplementedError

    def scales(self, values: Hyperparameters, residual: FloatArray) -> FloatArray:
        """Standard deviation (..., D) of every u_k, given the hyperparameters."""
        raise NotImplementedError

    def log_density_hyper(self, values: Hyperparameters, residual: FloatArray) -> FloatArray:
        """Normalised log density (...) of the hyperparameters; `-inf` outside the support."""
        raise NotImplementedError

    def draw_hyper(
        self, rng: np.random.Generator, count: int, residual: FloatArray
    ) -> dict[str, FloatArray]:
        """One draw of the hyperparameters for each of residual (m,), the axis m first."""
        raise NotImplementedError

    def pymc(self, residual: Any, count: int, dims: str) -> Any:
        """PyMC variables of the hyperparameters, by their names; returns `scales` (D,)."""
        raise NotImplementedError

    def free(self, count: int) -> int:
        """How many free numbers the hyperparameters are."""
        raise NotImplementedError

    def has_mean(self, name: str) -> bool:
        """Whether `beta`, or the first of `common`, has a mean before the data."""
        raise NotImplementedError

    def law(self, name: str, spread: float) -> str:
        """The prior of one coefficient given the hyperparameters, in words."""
        raise NotImplementedError

    def rows(self, count: int) -> list[tuple[str, str]]:
        """Names of the hyperparameters and their priors, in words."""
        raise NotImplementedError

    def log_density(
        self, u: FloatArray, values: Hyperparameters, residual: FloatArray
    ) -> FloatArray:
        """Normalised log density (...) of u (..., D) and the hyperparameters together."""
        within = self.log_density_hyper(values, residual)
        with np.errstate(all="ignore"):
            scale = self.scales(values, residual)
            terms = -0.5 * (u / scale) ** 2 - np.log(scale) - 0.5 * math.log(2 * math.pi)
            total = within + np.sum(terms, axis=-1)
        return np.where(np.isfinite(within), total, -np.inf)

    def draw(
        self, rng: np.random.Generator, count: int, residual: FloatArray
    ) -> tuple[FloatArray, dict[str, FloatArray]]:
        """One draw of u (m, D) and of the hyperparameters for each of residual (m,)."""
        values = self.draw_hyper(rng, count, residual)
        scale = self.scales(values, residual)
        return scale * rng.standard_normal(scale.shape), values


class Shrunk(Prior):
    """Stands for a coefficient whose prior is that of several together: it has none of its own."""

    places: ClassVar[frozenset[Place]] = frozenset({"location"})
    kind: Literal["shrunk"] = "shrunk"
    law: str

    def numbers(self) -> dict[str, float]:
        return {}

    def __str__(self) -> str:
        return self.law
