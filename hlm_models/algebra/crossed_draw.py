"""Exact joint draws of the effects of several factors, given beta and the variance parameters.

In the symbols of `hlm_models.algebra.crossed`, and with v = (-beta, 1): the effects of all factors
but the first are Lambda_R u with u normal of mean C^-1 q v and covariance sigma^2 C^-1; given them,
b_1j is normal of mean E_j (H_j v - K_j u) and covariance sigma^2 E_j.
"""

import numpy as np

from hlm_models.algebra.coupling import Coupled
from hlm_models.algebra.crossed import Reduced, first_gains, reduced
from hlm_models.algebra.schur import Factor
from hlm_models.types import FloatArray

__all__ = ["draw_effects", "draw_reduced"]


def draw_effects(
    Lambda: tuple[FloatArray, ...],
    blocks: Coupled,
    v: FloatArray,
    sigma: float,
    normals: tuple[FloatArray, ...],
) -> tuple[FloatArray, ...]:
    """One draw of b (J_f, q_f), scaled columns, from standard normals of the same shapes.

    v (k,) are the weights (-beta, 1) of W in scaled columns, as in `Sweep.effects`, which is the
    mean; the draw is linear in the normals.

    Raises
    ------
    numpy.linalg.LinAlgError
        the Schur complement is not positive definite, which only overflow or not-finite numbers
        can bring about.
    """
    found = reduced(Lambda, blocks)
    factor = blocks.complement.factor(found.C)
    return draw_reduced(Lambda, blocks, found, factor, v, sigma, normals)


def draw_reduced(
    Lambda: tuple[FloatArray, ...],
    blocks: Coupled,
    found: Reduced,
    factor: Factor,
    v: FloatArray,
    sigma: float,
    normals: tuple[FloatArray, ...],
) -> tuple[FloatArray, ...]:
    """As `draw_effects`, from what eliminating factor 1 has left and the factor of its C."""
    others = np.concatenate([one.ravel() for one in normals[1:]])[:, None]
    u = factor.solve((found.q @ v)[:, None]) + sigma * factor.root(others)
    mean = np.empty((blocks.J[0], blocks.q[0], 1))
    H = np.ascontiguousarray(np.einsum("akj,k->aj", blocks.H, v)[:, None, :])
    first_gains(H, found.E, blocks.starts, blocks.columns, found.K, u, mean)
    # E_j = Lambda L_j^-T L_j^-1 Lambda', with L_j the factor of A_j.
    G = np.moveaxis(blocks.G, -1, 0)
    A = np.eye(blocks.q[0]) + Lambda[0].T @ G @ Lambda[0]
    whitened = np.linalg.solve(np.swapaxes(np.linalg.cholesky(A), 1, 2), normals[0][:, :, None])
    drawn = [(mean + sigma * (Lambda[0] @ whitened))[:, :, 0]]
    for f in range(1, len(blocks.q)):
        here = slice(blocks.offsets[f - 1], blocks.offsets[f])
        drawn.append(u[here].reshape(blocks.J[f], blocks.q[f]) @ Lambda[f].T)
    return tuple(drawn)
