"""Responses drawn from a fitted model."""

from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np

from hlm_models.errors import InputErrors
from hlm_models.results.arguments import checked_count, checked_seed
from hlm_models.results.extract import estimated
from hlm_models.results.fits import PointFit
from hlm_models.results.point_only import point_only
from hlm_models.spec.density import Point
from hlm_models.spec.model import ModelSpec
from hlm_models.spec.simulate import draw_response
from hlm_models.types import FloatArray

__all__ = ["Source", "simulate"]


def simulate(
    fit: PointFit,
    draws: int = 1,
    *,
    seed: int,
    groups: Literal["new", "existing"] = "new",
) -> FloatArray:
    """Responses (n, draws) of the rows of the model at its estimates.

    Parameters
    ----------
    draws : responses, a column each
    seed : the same seed gives the same draws, however many are asked for; those with new effects
        are what `bootstrap` refits to
    groups : "new" draws the random effects from N(0, Psi) each time (`use.u = FALSE` in lme4);
        "existing" keeps them at their conditional means (`use.u = TRUE`)
    """
    fit = point_only(fit, "simulate")
    if groups not in ("new", "existing"):
        raise InputErrors.one(f"groups is new or existing, not {groups!r}", key="groups")
    draws = checked_count(draws, "draws")
    source = Source.of(fit, checked_seed(seed))
    if groups == "existing":
        source = replace(source, roots=())
    out = np.empty((fit.spec.design.n, draws), order="F")
    for column in range(draws):
        out[:, column] = source.response(column)
    return out


@dataclass(frozen=True, eq=False)
class Source:
    """A fitted model as a source of responses: y = offset + X beta + Z b + e, e drawn, and b too.

    roots : of each block (q, q), Psi = root root'; without any, b stays that of `point`
    """

    spec: ModelSpec
    point: Point
    roots: tuple[FloatArray, ...]
    seed: int

    @classmethod
    def of(cls, fit: PointFit, seed: int) -> Self:
        """The model of a fit at its estimates."""
        roots = tuple(fit.sigma * estimate.Lambda for estimate in fit.random)
        return cls(fit.spec, estimated(fit), roots, seed)

    def response(self, index: int) -> FloatArray:
        """Draw number `index` (n,); it depends on this and the seed alone."""
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(index,)))
        point = self.point
        if self.roots:
            b = tuple(
                rng.standard_normal((block.J, block.q)) @ root.T
                for block, root in zip(self.spec.blocks, self.roots, strict=True)
            )
            point = replace(point, b=b)
        return draw_response(self.spec, point, rng)
