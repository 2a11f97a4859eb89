"""beta and b given the variance parameters: exact draws, and the same draws once more.

With gamma, P, h, Q, T and m of docs/marginal.md, gamma | y ~ N(P^-1 h, P^-1) and beta_I = T^-1
(gamma + Q' m). Given beta, v = (fit - R_x beta, 1) are the weights of W = [X_s, y_s], and with raw =
diag(sd) L_corr / sigma, Lambda = R_z raw, the effects of a level of the only factor are, in raw
columns,

    b_j | beta, y ~ N(raw A_j^-1 Lambda' H_j v, sigma^2 raw A_j^-1 raw')

so that b_j = raw L_j^-T (L_j^-1 Lambda' H_j v + sigma e) for standard normals e, A_j = L_j L_j'.

Source: Lindley and Smith (1972), doi:10.1111/j.2517-6161.1972.tb00885.x, in the notation of Bates et
al. (2015), doi:10.18637/jss.v067.i01.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit

from hlm_models.algebra.gram import Gram
from hlm_models.algebra.kernel import LANES, add_levels, work_size
from hlm_models.errors import FitError
from hlm_models.spec.integration import integration
from hlm_models.spec.model import ModelSpec
from hlm_models.types import FloatArray

__all__ = [
    "VarianceDraws",
    "coefficients_at",
    "draw_coefficients",
    "draw_effects",
    "effects_at",
]

BLOCK = 100_000
"""About so many normals at a time: they are still in cache when they become effects."""


@dataclass(frozen=True, slots=True)
class VarianceDraws:
    """Draws of what is sampled; one entry a draw, chains kept apart.

    sigma (chains, draws), beta_free (chains, draws, p - d), and for every block sd (chains, draws,
    q), corr (chains, draws, q, q) and its Cholesky factor.
    """

    sigma: FloatArray
    sd: tuple[FloatArray, ...]
    corr: tuple[FloatArray, ...]
    factor: tuple[FloatArray, ...]
    beta_free: FloatArray

    def at(self, chain: int, draws: slice = slice(None)) -> "VarianceDraws":
        """Some draws of one chain: the same arrays without the axis of chains."""
        return VarianceDraws(
            self.sigma[chain, draws],
            tuple(one[chain, draws] for one in self.sd),
            tuple(one[chain, draws] for one in self.corr),
            tuple(one[chain, draws] for one in self.factor),
            self.beta_free[chain, draws],
        )

    @property
    def raw(self) -> tuple[FloatArray, ...]:
        """Relative factors diag(sd) L_corr / sigma (..., q, q) of the raw columns."""
        scale = self.sigma[..., None, None]
        return tuple(
            sd[..., None] * factor / scale for sd, factor in zip(self.sd, self.factor, strict=True)
        )


def draw_coefficients(
    spec: ModelSpec, draws: VarianceDraws, seed: np.random.SeedSequence
) -> FloatArray:
    """Coefficients beta (chains, draws, p) in raw columns, the free ones as they are.

    Raises
    ------
    FitError
        the precision of the coefficients is not positive definite or finite at some draw.
    """
    count = len(integration(spec).integrated)
    beta = np.empty((*draws.sigma.shape, spec.design.p))
    for chain in range(len(beta)):
        rng = _generator(seed, 0, chain)
        normals = rng.standard_normal((beta.shape[1], count))
        beta[chain] = coefficients_at(spec, draws.at(chain), normals)
    return beta


def draw_effects(
    spec: ModelSpec, draws: VarianceDraws, beta: FloatArray, seed: np.random.SeedSequence
) -> tuple[FloatArray, ...]:
    """Effects b (chains, draws, J, q) of every block in raw columns, given beta (chains, draws, p).

    The same arguments give the same bits; the seed may be that of the coefficients.

    Raises
    ------
    FitError
        the effects are not finite at some draw.
    """
    chains, count = draws.sigma.shape
    b = tuple(np.empty((chains, count, block.J, block.q)) for block in spec.blocks)
    step = max(1, BLOCK // sum(block.J * block.q for block in spec.blocks))
    for chain in range(chains):
        rng = _generator(seed, 1, chain)
        for lo in range(0, count, step):
            here = slice(lo, lo + step)
            out = tuple(one[chain, here] for one in b)
            _fill(rng, out)
            effects_at(spec, draws.at(chain, here), beta[chain, here], out)
    return b


def _generator(seed: np.random.SeedSequence, purpose: int, chain: int) -> np.random.Generator:
    """That of one chain; `spawn` would give another one every time it is called."""
    child = np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, purpose, chain))
    return np.random.default_rng(child)
