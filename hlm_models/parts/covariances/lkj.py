"""Correlated effects with an LKJ prior on their correlation matrix."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import PositiveFloat

from hlm_models.parts.covariances._contract import Separate, Structure
from hlm_models.parts.covariances._correlations import (
    corr_factor,
    lkj_constant,
    lkj_shapes,
    log_beta_corr,
    log_det,
)
from hlm_models.parts.priors import pymc_vector
from hlm_models.types import FloatArray


class LKJ(Separate):
    """p(corr) proportional to |corr|^(eta - 1), with independent priors on the sd.

    eta 1 is uniform over correlation matrices; larger values favour small correlations.

    Source: Lewandowski, Kurowicka and Joe (2009), doi:10.1016/j.jmva.2009.04.008: the normalising
    constant is equation (16); the canonical partial correlations of the C-vine are independent,
    those with k variables partialled out, k = 0..q-2, symmetric Beta(eta + (q - 2 - k) / 2) on
    (-1, 1) (section 2.4).
    """

    correlated: ClassVar[bool] = True
    single: ClassVar[bool] = False
    structure: ClassVar[Structure] = "unstructured"
    kind: Literal["lkj"] = "lkj"
    eta: PositiveFloat = 2.0

    def log_density(self, sd: FloatArray, corr: FloatArray) -> FloatArray:
        of_corr = log_det(corr)
        inside = np.isfinite(of_corr)
        value = (self.eta - 1) * np.where(inside, of_corr, 0.0)
        value += self._log_density_sd(sd) - lkj_constant(self.eta, sd.shape[-1])
        return np.where(inside, value, -np.inf)

    def draw(self, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        sd = self._draw_sd(rng)
        q, shapes = len(sd), self.partial_shapes()
        factor = np.zeros((q, q))
        factor[0, 0] = 1.0
        for row, column in zip(*(at.tolist() for at in np.tril_indices(q, -1)), strict=True):
            a = shapes[row * (row - 1) // 2 + column]
            partial = 2 * rng.beta(a, a) - 1
            left = 1.0 - np.sum(factor[row, :column] ** 2)
            factor[row, column] = partial * math.sqrt(left)
            if column == row - 1:
                factor[row, row] = math.sqrt(1.0 - np.sum(factor[row, :row] ** 2))
        corr = factor @ factor.T
        np.fill_diagonal(corr, 1.0)
        return sd, corr

    def pymc(self, label: str, dims: str | None) -> tuple[Any, Any]:
        import pymc as pm

        priors = self.sd_priors()
        sd = pymc_vector(f"sd_{label}", priors, place="scale", dims=dims)
        q, a = len(priors), self.partial_shapes()
        # Partial correlations rather than pm.LKJCorr: its value changed from the correlation
        # matrix to its factor between PyMC 6.3 and 6.4, and elementwise graphs compile faster.
        partial = 2 * pm.Beta(f"partial_{label}", alpha=a, beta=a, shape=len(a)) - 1
        return sd, corr_factor(partial, q)

    def partial_shapes(self) -> FloatArray:
        q = len(self.sd_priors())
        return lkj_shapes(self.eta, q)

    def log_density_corr(self, r: FloatArray, row: int, column: int) -> FloatArray:
        return log_beta_corr(r, self.eta + (len(self.sd_priors()) - 2) / 2)

    def rows(self, group: str, term: str, scales: Sequence[str]) -> list[tuple[str, str]]:
        return [
            *super().rows(group, term, scales),
            (f"corr_{group} ({term})", f"lkj({self.eta:g})"),
        ]
