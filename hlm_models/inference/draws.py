"""Quick refits to drawn responses."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from hlm_models.algebra.search import minimise
from hlm_models.results.summary import parameters
from hlm_models.spec.marginal import Marginal
from hlm_models.spec.model import ModelSpec
from hlm_models.types import FloatArray

__all__ = ["QuickFit", "quick_fit"]

CLOSE = 1e-7
"""How near, in units of the criterion, a refit comes to its optimum."""

STEPS = 300
"""Evaluations after which a search has failed; a few dozen are usual."""

SINGULAR = 1e-4
"""A Lambda with a smaller singular value, in scaled columns, counts as singular."""


@dataclass(frozen=True, eq=False)
class QuickFit:
    """Where a search for the optimum ended: theta, and the criterion, in scaled columns."""

    marginal: Marginal
    theta: FloatArray
    criterion: float
    reml: bool

    @property
    def singular(self) -> bool:
        """Whether some combination of effects that may correlate does not vary."""
        return any(
            part.size(Lambda) < SINGULAR
            for Lambda, parts in zip(
                self.marginal.factors(self.theta), self.marginal.parts, strict=True
            )
            for part in parts
        )

    def population(self, spec: ModelSpec) -> FloatArray:
        """The population parameters, in the order of `parameters`; NaN where undefined."""
        at = self.marginal.at(self.theta, reml=self.reml)
        values = {"beta": self.marginal.beta(at), "sigma": np.array(at.sigma)}
        for index, block in enumerate(spec.blocks):
            root = at.sigma * self.marginal.raw_factor(index, self.theta)
            sd = np.linalg.norm(root, axis=1)
            with np.errstate(invalid="ignore"):
                corr = (root @ root.T) / np.outer(sd, sd)
            values |= {f"sd_{block.group}": sd, f"corr_{block.group}": corr}
        return np.array([values[one.variable][one.index] for one in parameters(spec)])


def quick_fit(
    marginal: Marginal, y: FloatArray, *, start: FloatArray, reml: bool
) -> QuickFit | None:
    """The optimum for a response y (n,), searched from `start` and from Lambda = I.

    Cross-products that y has no part in are not made again. None where the search failed: the
    criterion is not finite, or the steps ran out.
    """
    other = marginal.with_response(y)
    function = partial(other.objective, reml=reml)
    starts = (start, other.start(1.0))
    found = [minimise(function, one, tolerance=CLOSE, steps=STEPS) for one in starts]
    reached = [one for one in found if np.isfinite(one.value) and one.evaluations <= STEPS]
    if not reached:
        return None
    best = min(reached, key=lambda one: one.value)
    return QuickFit(other, best.x, best.value, reml)
