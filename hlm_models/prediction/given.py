"""Random effects given a draw of beta and the variance parameters, and given the data.

With v = (-beta, 1) and Lambda = R raw, psi = sigma^2 raw raw', in the symbols of
`hlm_models.algebra.kernel`: of a level of one factor alone

    z'b | beta, y ~ N(w' L^-1 Lambda' H v, sigma^2 w'w),    w = L^-1 Lambda' z_s,    A = L L'

z_s being z in the scaled columns. Of several factors the same comes from a pass over all levels.

Source: Lindley and Smith (1972), doi:10.1111/j.2517-6161.1972.tb00885.x.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from hlm_models.algebra.correlation import correlation_root
from hlm_models.algebra.gram import Gram
from hlm_models.errors import FitError
from hlm_models.results.rows import Rows
from hlm_models.spec.model import ModelSpec
from hlm_models.types import FloatArray, IntArray

if TYPE_CHECKING:
    from xarray import Dataset

    from hlm_models.algebra.coupling import Coupled

__all__ = ["Draws", "effects_given"]


@dataclass(frozen=True, slots=True)
class Draws:
    """Draws of all chains, one after the other: beta (S, p), sigma (S,).

    raw : of each block (S, q, q), Psi = sigma^2 raw raw'
    """

    spec: ModelSpec
    beta: FloatArray
    sigma: FloatArray
    raw: tuple[FloatArray, ...]

    @classmethod
    def of(cls, spec: ModelSpec, posterior: "Dataset") -> Self:
        """The draws of a posterior."""

        def values(name: str) -> FloatArray:
            found = posterior[name].transpose("chain", "draw", ...).values
            return np.asarray(found.reshape(-1, *found.shape[2:]))

        sigma = values("sigma")
        return cls(
            spec=spec,
            beta=values("beta") if spec.design.p else np.zeros((len(sigma), 0)),
            sigma=sigma,
            raw=tuple(
                values(f"sd_{block.group}")[:, :, None]
                * correlation_root(values(f"corr_{block.group}"))
                / sigma[:, None, None]
                for block in spec.blocks
            ),
        )

    def at(self, draws: IntArray) -> Self:
        """Some of the draws."""
        raw = tuple(one[draws] for one in self.raw)
        return type(self)(self.spec, self.beta[draws], self.sigma[draws], raw)

    @property
    def v(self) -> FloatArray:
        """Weights (S, k) of the scaled columns W that make residuals."""
        design = self.spec.design
        v = np.ones((len(self.sigma), design.p + 1))
        v[:, :-1] = design.y_fit - self.beta @ design.x_scaling.R.T
        return v

    @property
    def Lambda(self) -> tuple[FloatArray, ...]:
        """Relative factors (S, q, q) of the scaled columns."""
        scales = self.spec.marginal.scales
        return tuple(scale.R @ raw for scale, raw in zip(scales, self.raw, strict=True))


def effects_given(draws: Draws, rows: Rows) -> tuple[FloatArray, FloatArray]:
    """Mean and variance (S, m) of z'b given each draw and the data.

    b are the effects of the rows' levels; where a level is -1, a block adds nothing.

    Raises
    ------
    FitError
        a matrix is not positive definite at some draw.
    """
    products = draws.spec.marginal.products
    scaled = tuple(
        np.linalg.solve(scale.R.T, z.T).T
        for scale, z in zip(draws.spec.marginal.scales, rows.z, strict=True)
    )
    with _solvable():
        if isinstance(products, Gram):
            return _one_factor(draws, products, scaled[0], rows.level[0])
        return _several_factors(draws, products, scaled, rows.level)


def _one_factor(
    draws: Draws, gram: Gram, z: FloatArray, level: IntArray
) -> tuple[FloatArray, FloatArray]:
    used, at = np.unique(level, return_inverse=True)
    [Lambda] = draws.Lambda
    G, H = (np.moveaxis(one[..., used], -1, 0) for one in (gram.G, gram.H))
    turned = np.swapaxes(Lambda, 1, 2)[:, None]
    root = np.linalg.cholesky(np.eye(z.shape[1]) + turned @ G @ Lambda[:, None])
    half = np.linalg.solve(root, np.broadcast_to(turned, root.shape))
    toward = np.einsum("sjab,jbk,sk->sja", half, H, draws.v, optimize=True)
    w = np.einsum("smab,mb->sma", half[:, at], z)
    mean = np.einsum("sma,sma->sm", w, toward[:, at])
    return mean, draws.sigma[:, None] ** 2 * np.einsum("sma,sma->sm", w, w)


def _several_factors(
    draws: Draws, coupled: "Coupled", z: tuple[FloatArray, ...], level: tuple[IntArray, ...]
) -> tuple[FloatArray, FloatArray]:
    from hlm_models.algebra.crossed import sweep

    Lambda, v = draws.Lambda, draws.v
    mean, variance = np.zeros((2, len(v), len(z[0])))
    with draws.spec.marginal.one_thread():
        for i in range(len(v)):
            found = sweep(tuple(np.ascontiguousarray(one[i]) for one in Lambda), coupled)
            for part, at, b in zip(z, level, found.effects(v[i]), strict=True):
                mean[i] += np.where(at >= 0, np.einsum("ma,ma->m", part, b[at]), 0.0)
            variance[i] = draws.sigma[i] ** 2 * found.quadratic(z, level)
    return mean, variance


@contextmanager
def _solvable() -> Iterator[None]:
    try:
        yield
    except np.linalg.LinAlgError as error:
        raise FitError(
            "the effects cannot be predicted, as a matrix is not positive definite at some draw: "
            "effects vary very much more than the rows"
        ) from error
