"""The prior of several coefficients together, in the units of one model."""

import math
from dataclasses import dataclass

import numpy as np

from hlm_models.design.build import Design
from hlm_models.errors import InputErrors, Problem
from hlm_models.parts.shrinkage import Hyperparameters, Shrinkage, Shrunk
from hlm_models.types import FloatArray

__all__ = ["SHRUNK", "JointPrior", "joint_prior"]

SHRUNK = "coef_shrunk"
"""The dimension of hyperparameters that each coefficient has one of."""


@dataclass(frozen=True)
class JointPrior:
    """The prior of D coefficients, all but the intercept.

    places (D,) in beta, and their names; spread (D,) : standard deviations of their columns, 1 of
    a column that is constant; unit : residual standard deviation of a typical row over sigma: one
    over the root of the geometric mean of the weights. Where residual standard deviations are known
    these are their inverse squares, and sigma is 1.
    """

    law: Shrinkage
    names: tuple[str, ...]
    places: tuple[int, ...]
    spread: tuple[float, ...]
    unit: float

    @property
    def count(self) -> int:
        return len(self.places)

    @property
    def dims(self) -> dict[str, tuple[str, ...]]:
        """Hyperparameters, and their dims."""
        common: dict[str, tuple[str, ...]] = dict.fromkeys(self.law.common, ())
        return common | dict.fromkeys(self.law.local, (SHRUNK,))

    def log_density(
        self, beta: FloatArray, values: Hyperparameters, sigma: FloatArray
    ) -> FloatArray:
        """Of the coefficients in beta (..., p) and the hyperparameters, given sigma (...)."""
        spread = np.array(self.spread)
        u = beta[..., list(self.places)] * spread
        return self.law.log_density(u, values, sigma * self.unit) + float(np.sum(np.log(spread)))

    def draw(
        self, rng: np.random.Generator, sigma: FloatArray
    ) -> tuple[FloatArray, dict[str, FloatArray]]:
        """Coefficients (m, D) and hyperparameters for each of sigma (m,)."""
        u, values = self.law.draw(rng, self.count, sigma * self.unit)
        return u / np.array(self.spread), values

    def placeholders(self) -> dict[str, Shrunk]:
        """What stands for the prior of each coefficient, by name."""
        each = zip(self.names, self.spread, strict=True)
        return {name: Shrunk(law=self.law.law(name, spread)) for name, spread in each}


def joint_prior(
    given: Shrinkage, design: Design, *, spread: FloatArray, of_response: float
) -> JointPrior:
    """The prior with numbers; spread (p,) and of_response are standard deviations.

    Raises
    ------
    InputErrors
        there is no coefficient but the intercept; settings that do not fit so many coefficients.
    """
    places = tuple(k for k, name in enumerate(design.coef) if name != "Intercept")
    if not places:
        raise InputErrors.one(
            f"{given.kind} is a prior of the coefficients other than the intercept, and this model "
            "has none: leave priors.beta out",
            key="priors.beta",
        )
    try:
        law = given.resolve(count=len(places), rows=design.n, spread=of_response)
    except InputErrors as error:
        raise InputErrors(
            Problem(p.message, key=f"priors.beta.{p.key}") for p in error.problems
        ) from None
    return JointPrior(
        law=law,
        names=tuple(design.coef[k] for k in places),
        places=places,
        spread=tuple(float(s) if s > 0 else 1.0 for s in spread[list(places)]),
        unit=math.exp(-design.log_weights / (2 * design.n)),
    )
