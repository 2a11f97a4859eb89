"""Sweeps of several factors, nested or crossed: the effects of all of them are drawn together."""

import numpy as np

from hlm_models.algebra.coupling import Coupled
from hlm_models.algebra.crossed import reduced
from hlm_models.algebra.crossed_draw import draw_reduced
from hlm_models.algebra.level_draw import standard_normals
from hlm_models.gibbs.sums import add_coupled, move_effects
from hlm_models.gibbs.sweep import (
    JOINT,
    Chain,
    Laws,
    Model,
    Scratch,
    draw_integrated,
    residual_weights,
    update,
)
from hlm_models.types import FloatArray

__all__ = ["record"]


def sweep(
    rng: np.random.Generator,
    model: Model,
    products: Coupled,
    chain: Chain,
    b: tuple[FloatArray, ...],
    laws: Laws,
    scratch: Scratch,
) -> bool:
    """One sweep: b (J, q) of every group in raw columns and the chain get new values.

    Raises
    ------
    numpy.linalg.LinAlgError
        the Schur complement is not positive definite.
    """
    places = [slice(end - q, end) for end, q in zip(np.cumsum(products.q), products.q, strict=True)]
    Lambda = tuple(
        np.ascontiguousarray(model.R[at, at] @ chain.C[at, at] / chain.sigma[0]) for at in places
    )
    residual_weights(model, chain.beta, scratch.v)
    left = reduced(Lambda, products)
    factor = products.complement.factor(left.C)
    if model.sizes[0] == JOINT:
        scratch.S[:] = left.S - left.q.T @ factor.solve(left.q)
        if not draw_integrated(rng, model, chain, laws, scratch):
            return False
    for one in b:
        standard_normals(rng, one.reshape(-1))
    scaled = draw_reduced(Lambda, products, left, factor, scratch.v, float(chain.sigma[0]), b)
    for one in (scratch.B, scratch.total, scratch.M, scratch.N):
        one[:] = 0.0
    for at, out, one in zip(places, b, scaled, strict=True):
        out[:] = one @ model.back[at, at].T
        scratch.B[at, at] = out.T @ out
    others = np.concatenate([one.ravel() for one in scaled[1:]])
    first = np.ascontiguousarray(scaled[0])
    z, s, _, ends = model.features
    add_coupled(first, others, products.arrays, z, s, ends, scratch.M, scratch.N)
    if not update(rng, model, chain, laws, scratch):
        return False
    if model.sizes[0] == JOINT:
        for at, out in zip(places, b, strict=True):
            move = np.ascontiguousarray(laws.move[at, at])
            move_effects(out, move, laws.shift[at], scratch.room)
    return True


def record(
    rng: np.random.Generator,
    model: Model,
    products: Coupled,
    chain: Chain,
    b: tuple[FloatArray, ...],
    laws: Laws,
    scratch: Scratch,
    thin: int,
    out: tuple[FloatArray, FloatArray, FloatArray, tuple[FloatArray, ...]],
) -> int:
    """As `hlm_models.gibbs.one_factor.record`, with a tuple of b."""
    beta, sigma, Psi, effects = out
    for i in range(len(sigma)):
        for _ in range(thin):
            if not sweep(rng, model, products, chain, b, laws, scratch):
                return i
        beta[i], sigma[i], Psi[i] = chain.beta, chain.sigma[0], chain.C @ chain.C.T
        for kept, one in zip(effects, b, strict=True):
            if len(kept):
                kept[i] = one
    return len(sigma)
