"""The log posterior of one model as a function of a vector: what samplers and searches take."""

import ctypes
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from hlm_models.algebra.gram import Gram
from hlm_models.algebra.integrated import one_factor_work
from hlm_models.spec.marginal import end_to_end
from hlm_models.spec.model import ModelSpec
from hlm_models.target.arrays import table
from hlm_models.target.coordinates import Coordinates, coordinates
from hlm_models.target.log_posterior import prior_work
from hlm_models.types import FloatArray, IntArray, frozen

__all__ = ["Target", "target"]


@dataclass(frozen=True, eq=False)
class Target:
    """The log posterior of one model at z, by which a sampler sees it.

    u = centre + whiten @ z; x, the unconstrained coordinates, is u itself but for standard
    deviations with fold > 0: there sd = fold |sinh u|. Near zero u is a signed sd, far from it a
    logarithm: where the data cannot tell a sd from zero, its logarithm would have a long tail. The
    two signs are one model, correlations with the effect changing theirs, and each has half of
    the posterior. The value is up to a constant: neither that half nor |det whiten| is in it.
    """

    spec: ModelSpec
    coordinates: Coordinates
    centre: FloatArray
    whiten: FloatArray
    fold: FloatArray

    @property
    def size(self) -> int:
        return self.coordinates.size

    @cached_property
    def floats(self) -> tuple[FloatArray, ...]:
        """Numbers of the priors and coordinates, in the order that the compiled code takes."""
        split = self.coordinates.integration
        R = end_to_end([scale.R.ravel() for scale in self.spec.marginal.scales])
        return (
            self.coordinates.scalars,
            self.coordinates.shapes,
            self.coordinates.numbers,
            frozen(R),
            split.turn,
            split.fit,
            self.centre,
            self.whiten,
            self.fold,
        )

    @cached_property
    def places(self) -> tuple[IntArray, ...]:
        """Indices of the coordinates, in the order that the compiled code takes."""
        at = self.coordinates
        singles = frozen(np.array([at.free.start, at.sigma]))
        return (at.q, at.row_sd, at.row_first, at.row_partial, singles, at.forms)

    @cached_property
    def blocks(self) -> tuple[FloatArray | IntArray, ...]:
        """Cross-products, as the kernel takes them."""
        products = self.spec.marginal.products
        if isinstance(products, Gram):
            return (products.G, products.H, products.T)
        from hlm_models.algebra.crossed_pass import several_blocks

        return several_blocks(products)

    @cached_property
    def work_size(self) -> int:
        """Length of the scratch array of one call."""
        p, d = self.coordinates.integration.Q.shape
        squares = int(np.sum(self.coordinates.q**2))
        own = prior_work(self.size, squares, int(np.sum(self.coordinates.q)), p)
        if isinstance(self.spec.marginal.products, Gram):
            return int(own + one_factor_work(len(self.spec.marginal.products.H), p + 1, d))
        from hlm_models.algebra.crossed_pass import several_work

        return int(own + several_work(self.blocks, d))

    @cached_property
    def arrays(self) -> tuple[FloatArray | IntArray, ...]:
        """All that the compiled functions read; `table` has the addresses of these very arrays."""
        return (*self.floats, *self.places, *self.coordinates.integration.gaussian, *self.blocks)

    @cached_property
    def table(self) -> IntArray:
        """Addresses and shapes of `arrays`."""
        return table(self.arrays, self.work_size)

    @property
    def function(self) -> Any:
        """The compiled function (numba's CFunc): loaded, or compiled where no cache of it is."""
        if len(self.spec.blocks) < 2:
            from hlm_models.target.one_factor import one_factor

            return one_factor
        from hlm_models.target.several_factors import several_factors

        return several_factors

    def points(self, z: FloatArray) -> FloatArray:
        """The x (..., d) of points z (..., d)."""
        u = self.centre + z @ self.whiten.T
        x = u.copy()
        at = self.coordinates
        folded = self.fold > 0
        with np.errstate(divide="ignore"):
            x[..., folded] = np.log(self.fold[folded] * np.abs(np.sinh(u[..., folded])))
        sign = np.where(folded, np.where(u < 0, -1.0, 1.0), 1.0)
        for rows in at.blocks:
            for a in range(rows.stop - rows.start):
                for c in range(int(at.row_first[rows][a]), a):
                    k = at.row_partial[rows][a] + c - at.row_first[rows][a]
                    pair = sign[..., at.row_sd[rows][a]] * sign[..., at.row_sd[rows][c]]
                    x[..., k] *= pair
        return x

    def __call__(self, z: FloatArray) -> tuple[float, FloatArray]:
        """Value and gradient (d,) at z (d,); -inf where a factorisation fails."""
        z = np.ascontiguousarray(z, dtype=np.float64)
        gradient, value = np.empty(self.size), np.empty(1)
        pointer = ctypes.POINTER(ctypes.c_double)
        self.function.ctypes(
            self.size,
            z.ctypes.data_as(pointer),
            gradient.ctypes.data_as(pointer),
            value.ctypes.data_as(pointer),
            self.table.ctypes.data,
        )
        return float(value[0]), gradient


def target(spec: ModelSpec) -> Target | None:
    """The log posterior in plain coordinates; None for a model that it does not know."""
    if spec.family.kind != "gaussian" or spec.residual.kind not in {"iid", "known"}:
        return None
    found = coordinates(spec)
    if found is None:
        return None
    zeros = frozen(np.zeros(found.size))
    return Target(spec, found, centre=zeros, whiten=frozen(np.eye(found.size)), fold=zeros)
