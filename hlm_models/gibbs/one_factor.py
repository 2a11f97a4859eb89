"""Sweeps of one factor, compiled: the cost of one is that of a few passes over the levels."""

from typing import NamedTuple

import numpy as np

from hlm_models.algebra.compiled import compiled
from hlm_models.algebra.gram import Gram
from hlm_models.algebra.kernel import add_levels, work_size
from hlm_models.algebra.level_draw import effects_work, standard_normals, turn_effects
from hlm_models.gibbs.sums import add_levels_at, level_sums_work, move_effects
from hlm_models.gibbs.sweep import EFFECTS, JOINT, draw_integrated, residual_weights, update
from hlm_models.types import FloatArray

__all__ = ["Levels", "new_levels", "record"]


class Levels(NamedTuple):
    """Gram blocks G (q, q, J), H (q, k, J), and what one sweep works in.

    raw, Lambda (1, q, q) : relative factors of raw and of scaled columns
    v (1, k), sigma (1,) : as `turn_effects` takes them
    nothing (0, 0), room : scratch
    """

    G: FloatArray
    H: FloatArray
    raw: FloatArray
    Lambda: FloatArray
    v: FloatArray
    sigma: FloatArray
    nothing: FloatArray
    room: FloatArray


@compiled()
def levels_work(q, k):  # type: ignore[no-untyped-def]
    """Length of `Levels.room`."""
    return max(work_size(q, k), effects_work(q), level_sums_work(q))


def new_levels(gram: Gram) -> Levels:
    """Room for the sweeps of one chain."""
    q, k, _ = gram.H.shape
    return Levels(
        G=gram.G,
        H=gram.H,
        raw=np.zeros((1, q, q)),
        Lambda=np.zeros((1, q, q)),
        v=np.zeros((1, k)),
        sigma=np.zeros(1),
        nothing=np.zeros((0, 0)),
        room=np.zeros(int(levels_work(q, k))),
    )


@compiled(error_model="numpy", no_cpython_wrapper=True)
def sweep(rng, model, levels, chain, b, laws, scratch):  # type: ignore[no-untyped-def] # noqa: PLR0912
    """One sweep: b (1, J, q) in raw columns and the chain get new values; False where it fails."""
    G, H, raw, Lambda, S = levels.G, levels.H, levels.raw, levels.Lambda, scratch.S
    q, k, _ = H.shape
    for a in range(q):
        for c in range(q):
            raw[0, a, c] = chain.C[a, c] / chain.sigma[0]
    for a in range(q):
        for c in range(q):
            Lambda[0, a, c] = 0.0
            for t in range(q):
                Lambda[0, a, c] += model.R[a, t] * raw[0, t, c]
    residual_weights(model, chain.beta, scratch.v)
    if model.sizes[0] == JOINT:
        fill(S, 0.0)
        add_levels(
            Lambda[0],
            G,
            H,
            S,
            levels.nothing,
            levels.nothing,
            False,
            levels.room[: work_size(q, k)],
        )
        for c in range(k):
            for e in range(c + 1):
                S[c, e] = S[e, c] = model.T[c, e] - S[c, e]
        if not draw_integrated(rng, model, chain, laws, scratch):
            return False
    for c in range(k):
        levels.v[0, c] = scratch.v[c]
    levels.sigma[0] = chain.sigma[0]
    standard_normals(rng, b.reshape(-1))
    turn_effects(Lambda, raw, levels.v, levels.sigma, G, H, b, levels.room)
    fill(scratch.B, 0.0)
    fill(scratch.M, 0.0)
    fill(scratch.N, 0.0)
    for a in range(q):
        scratch.total[a] = 0.0
    add_levels_at(
        b[0], model.R, G, H, model.features.z, model.features.s, scratch.B, scratch.total,
        scratch.M, scratch.N, levels.room,
    )  # fmt: skip
    if not update(rng, model, chain, laws, scratch):
        return False
    if model.sizes[0] != EFFECTS:
        move_effects(b[0], laws.move, laws.shift, levels.room)
    return True


@compiled()
def fill(out, value):  # type: ignore[no-untyped-def]
    """Fill a matrix: numba would compile an error message for an assignment of whole arrays."""
    for a in range(out.shape[0]):
        for c in range(out.shape[1]):
            out[a, c] = value


@compiled()
def copy(found, out):  # type: ignore[no-untyped-def]
    """Copy a matrix, likewise."""
    for a in range(out.shape[0]):
        for c in range(out.shape[1]):
            out[a, c] = found[a, c]


@compiled(error_model="numpy")
def record(rng, model, levels, chain, b, laws, scratch, thin, out):  # type: ignore[no-untyped-def]
    """`thin` sweeps for each place of out = (beta, sigma, Psi, b), which keeps the last of them.

    beta (m, p), sigma (m,), Psi (m, Q, Q), b (m, J, q), or (0, J, q) where it is not kept. Returns
    how many places were filled before a sweep failed.
    """
    beta, sigma, Psi, effects = out
    Q = Psi.shape[1]
    for i in range(len(sigma)):
        for _ in range(thin):
            if not sweep(rng, model, levels, chain, b, laws, scratch):
                return i
        for a in range(len(chain.beta)):
            beta[i, a] = chain.beta[a]
        sigma[i] = chain.sigma[0]
        for a in range(Q):
            for c in range(a + 1):
                total = 0.0
                for t in range(c + 1):
                    total += chain.C[a, t] * chain.C[c, t]
                Psi[i, a, c] = Psi[i, c, a] = total
        if len(effects):
            copy(b[0], effects[i])
    return len(sigma)
