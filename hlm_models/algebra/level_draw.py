"""Exact draws of the effects of one factor, given beta and the variance parameters.

With v = (-beta, 1) and A_j = L_j L_j' of `hlm_models.algebra.kernel`: b_j = raw L_j^-T (L_j^-1
Lambda' H_j v + sigma e) for standard normals e, where Lambda = R raw and z_raw = z R.
"""

import numpy as np

from hlm_models.algebra.compiled import compiled
from hlm_models.algebra.kernel import LANES

__all__ = ["effects_work", "standard_normals", "turn_effects"]


@compiled()
def standard_normals(rng, out):  # type: ignore[no-untyped-def]
    """Fill out (m,): NumPy's own bits, in compiled code some three times as fast."""
    for i in range(len(out)):
        out[i] = rng.standard_normal()


@compiled()
def effects_work(q):  # type: ignore[no-untyped-def]
    """Length of the scratch array of `turn_effects`."""
    return LANES * (2 * q * q + 3 * q)


@compiled(fastmath={"reassoc", "contract", "nsz"}, error_model="numpy")
def turn_effects(Lambda, raw, v, sigma, G, H, b, work):  # type: ignore[no-untyped-def] # noqa: PLR0912
    """Standard normals b (draws, J, q) become effects in raw columns.

    Lambda, raw (draws, q, q), v (draws, k) and sigma (draws,) of every draw.
    """
    q, k, J = H.shape
    square = q * q * LANES
    GL = work[:square].reshape((q, q, LANES))
    L = work[square : 2 * square].reshape((q, q, LANES))
    rest = work[2 * square :]
    inv = rest[: q * LANES].reshape((q, LANES))
    right = rest[q * LANES : 2 * q * LANES].reshape((q, LANES))
    x = rest[2 * q * LANES : 3 * q * LANES].reshape((q, LANES))
    for i in range(len(b)):
        for lo in range(0, J, LANES):
            m = min(LANES, J - lo)
            for a in range(q):
                for j in range(m):
                    right[a, j] = 0.0
                for c in range(k):
                    w = v[i, c]
                    for j in range(m):
                        right[a, j] += w * H[a, c, lo + j]
                for c in range(q):
                    for j in range(m):
                        GL[a, c, j] = 0.0
                    for t in range(q):
                        w = Lambda[i, t, c]
                        if w != 0.0:
                            for j in range(m):
                                GL[a, c, j] += G[a, t, lo + j] * w
            for a in range(q):
                for c in range(a + 1):
                    one = 1.0 if a == c else 0.0
                    for j in range(m):
                        L[a, c, j] = one
                    for t in range(q):
                        w = Lambda[i, t, a]
                        if w != 0.0:
                            for j in range(m):
                                L[a, c, j] += w * GL[t, c, j]
            # Forwards, x = L^-1 Lambda' H v + sigma e, while the factor is made.
            for c in range(q):
                for a in range(c, q):
                    for t in range(c):
                        for j in range(m):
                            L[a, c, j] -= L[a, t, j] * L[c, t, j]
                for j in range(m):
                    L[c, c, j] = np.sqrt(L[c, c, j])
                    inv[c, j] = 1.0 / L[c, c, j]
                    x[c, j] = 0.0
                for a in range(c + 1, q):
                    for j in range(m):
                        L[a, c, j] *= inv[c, j]
                for t in range(q):
                    w = Lambda[i, t, c]
                    if w != 0.0:
                        for j in range(m):
                            x[c, j] += w * right[t, j]
                for t in range(c):
                    for j in range(m):
                        x[c, j] -= L[c, t, j] * x[t, j]
                for j in range(m):
                    x[c, j] *= inv[c, j]
            for c in range(q):
                for j in range(m):
                    x[c, j] += sigma[i] * b[i, lo + j, c]
            for c in range(q - 1, -1, -1):
                for t in range(c + 1, q):
                    for j in range(m):
                        x[c, j] -= L[t, c, j] * x[t, j]
                for j in range(m):
                    x[c, j] *= inv[c, j]
            for a in range(q):
                for j in range(m):
                    right[a, j] = 0.0
                for c in range(q):
                    w = raw[i, a, c]
                    if w != 0.0:
                        for j in range(m):
                            right[a, j] += w * x[c, j]
                for j in range(m):
                    b[i, lo + j, a] = right[a, j]
