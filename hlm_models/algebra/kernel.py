"""The kernel: one pass over the levels gives all that a Gaussian mixed model's likelihood needs.

With A_j = I + Lambda' G_j Lambda = L_j L_j', B_j = L_j^-1 Lambda' H_j, V_j = I + Z_j Lambda
Lambda' Z_j' (never formed) and P = Lambda Lambda':

    log|V_j| = log|A_j|                 sum_j W_j' V_j^-1 W_j = T - sum_j B_j' B_j
    Z_j' V_j^-1 W_j = R_j = H_j - G_j Lambda A_j^-1 Lambda' H_j
    Z_j' V_j^-1 Z_j = N_j = G_j - G_j Lambda A_j^-1 Lambda' G_j

so that d sum log|A_j| = tr(N dP) with N = sum N_j, and dS = - sum R_j' dP R_j. Keeping the sums
N and D = sum vec(R_j) vec(R_j)' makes the derivative of any function of (logdet, S) a product of
small matrices: nothing has to go over the levels twice.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numba import njit

from hlm_models.algebra.gram import Gram
from hlm_models.types import FloatArray, IntArray

__all__ = [
    "NoFactor",
    "OneFactor",
    "Pass",
    "add_levels",
    "derivative",
    "eliminate",
    "eliminate_levels",
    "level_pass",
    "one_factor",
    "work_size",
]

LANES = 128
"""Levels worked on together; the scratch arrays of a block of them stay in the first cache."""


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass over the levels gives.

    logdet : () sum of log|A_j|
    S : (k, k) W' V^-1 W
    N : (q, q) Z' V^-1 Z summed over levels; zeros where no derivative was asked for
    D : (q k, q k) sum of vec(R_j) vec(R_j)', R_j (q, k) row-major; zeros likewise
    """

    logdet: float
    S: FloatArray
    N: FloatArray
    D: FloatArray


@dataclass(frozen=True, slots=True)
class NoFactor:
    """What a pass comes to without factors: V is the identity, S is T, and there is no b."""

    S: FloatArray

    @property
    def logdet(self) -> float:
        return 0.0

    def derivative(self, weight: float, F: FloatArray) -> tuple[FloatArray, ...]:  # noqa: ARG002
        return ()

    def gains(self) -> tuple[FloatArray, ...]:
        return ()

    def effects(self, v: FloatArray) -> tuple[FloatArray, ...]:  # noqa: ARG002
        return ()

    def effect_covariances(self) -> tuple[FloatArray, ...]:
        return ()

    def quadratic(self, z: tuple[FloatArray, ...], level: tuple[IntArray, ...]) -> float:  # noqa: ARG002
        return 0.0


@dataclass(frozen=True)
class OneFactor:
    """A pass of one factor, with the methods of `hlm_models.algebra.crossed.Sweep`."""

    found: Pass
    Lambda: FloatArray
    gram: Gram

    @property
    def logdet(self) -> float:
        return self.found.logdet

    @property
    def S(self) -> FloatArray:
        return self.found.S

    def derivative(self, weight: float, F: FloatArray) -> tuple[FloatArray, ...]:
        """M (q, q) of the one factor."""
        return (derivative(self.found, weight, F),)

    @cached_property
    def E(self) -> FloatArray:
        """Lambda A_j^-1 Lambda' (J, q, q): covariances of b given beta, over sigma^2."""
        return eliminate(self.Lambda, self.gram.G)[1]

    def gains(self) -> tuple[FloatArray, ...]:
        """What W says about b: conditional means are gains (J, q, k) @ v, v = (-beta, 1)."""
        return (self.E @ np.moveaxis(self.gram.H, -1, 0),)

    def effects(self, v: FloatArray) -> tuple[FloatArray, ...]:
        """Conditional means of b (J, q) given the weights v (k,) of W, v = (-beta, 1)."""
        return (np.einsum("jab,bj->ja", self.E, np.einsum("bcj,c->bj", self.gram.H, v)),)

    def effect_covariances(self) -> tuple[FloatArray, ...]:
        """Conditional covariances of b given beta, over sigma^2: (J, q, q)."""
        return (self.E,)

    def quadratic(self, z: tuple[FloatArray, ...], level: tuple[IntArray, ...]) -> FloatArray:
        """Conditional variance over sigma^2 of z' b for rows of z (m, q) and level (m,).

        A level of -1 is none: it adds nothing.
        """
        [z1], [at] = z, level
        found = np.einsum("ma,mab,mb->m", z1, self.E[at], z1)
        return np.where(at >= 0, found, 0.0)


def one_factor(Lambda: FloatArray, gram: Gram) -> OneFactor:
    """The pass of one factor over its Gram blocks, with derivatives."""
    found = level_pass(Lambda, gram.G, gram.H, gram.T, derivatives=True)
    return OneFactor(found, Lambda, gram)


def level_pass(
    Lambda: FloatArray, G: FloatArray, H: FloatArray, T: FloatArray, *, derivatives: bool
) -> Pass:
    """The pass at any square Lambda (q, q); not-finite numbers come back as they are.

    Source: after Bates et al. (2015), doi:10.18637/jss.v067.i01, equations
    (18)-(25), with the levels as blocks.
    """
    q, k, _ = H.shape
    S = np.zeros((k, k))
    N = np.zeros((q, q))
    D = np.zeros((q * k, q * k)) if derivatives else np.zeros((0, 0))
    work = np.empty(work_size(q, k))
    logdet = add_levels(np.ascontiguousarray(Lambda), G, H, S, N, D, derivatives, work)
    S = T - (S + np.tril(S, -1).T)
    N = N + np.tril(N, -1).T
    D = D + np.tril(D, -1).T
    return Pass(float(logdet), S, N, D)


def derivative(found: Pass, weight: float, F: FloatArray) -> FloatArray:
    """M (q, q) = df/dP, symmetric, of f with df = weight d(logdet) + tr(F dS).

    Then df/dLambda = 2 M Lambda.
    """
    q, k = found.N.shape[0], F.shape[0]
    D = found.D.reshape(q, k, q, k)
    M: FloatArray = weight * found.N - np.einsum("acbd,cd->ab", D, F)
    return (M + M.T) / 2


def eliminate(Lambda: FloatArray, G: FloatArray) -> tuple[float, FloatArray]:
    """Sum of log|A_j| and E_j = Lambda A_j^-1 Lambda' (J, q, q), from G (q, q, J)."""
    q, _, J = G.shape
    E, work = np.empty((J, q, q)), np.empty(3 * q * q)
    return float(eliminate_levels(np.ascontiguousarray(Lambda), G, E, work)), E


@njit(cache=True, nogil=True, error_model="numpy")
def eliminate_levels(Lambda, G, E, work):  # type: ignore[no-untyped-def] # noqa: PLR0912
    """Fill E as `eliminate` does; work (3 q^2,) is scratch."""
    q, _, J = G.shape
    square = q * q
    GL = work[:square].reshape((q, q))
    L = work[square : 2 * square].reshape((q, q))
    half = work[2 * square : 3 * square].reshape((q, q))
    logdet = 0.0
    for j in range(J):
        for a in range(q):
            for c in range(q):
                GL[a, c] = 0.0
                for b in range(q):
                    GL[a, c] += G[a, b, j] * Lambda[b, c]
        for a in range(q):
            for c in range(a + 1):
                total = 1.0 if a == c else 0.0
                for b in range(q):
                    total += Lambda[b, a] * GL[b, c]
                for t in range(c):
                    total -= L[a, t] * L[c, t]
                L[a, c] = np.sqrt(total) if a == c else total / L[c, c]
            logdet += 2 * np.log(L[a, a])
        # half = L^-1 Lambda', E = half' half
        for a in range(q):
            for b in range(q):
                total = Lambda[b, a]
                for t in range(a):
                    total -= L[a, t] * half[t, b]
                half[a, b] = total / L[a, a]
        for a in range(q):
            for b in range(q):
                E[j, a, b] = 0.0
                for t in range(q):
                    E[j, a, b] += half[t, a] * half[t, b]
    return logdet


@njit(cache=True, nogil=True)
def work_size(q, k):  # type: ignore[no-untyped-def]
    """Length of the scratch array of `add_levels`."""
    return LANES * (3 * q * q + 2 * q * k + q + 1)


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"}, error_model="numpy")
def add_levels(  # type: ignore[no-untyped-def] # noqa: PLR0912, PLR0915
    Lambda, G, H, S, N, D, derivatives, work
):
    """Add sum B'B to S, sum N_j to N and sum vec(R) vec(R)' to D (lower triangles); sum log|A|."""
    q, k, J = H.shape
    square, wide = q * q * LANES, q * k * LANES
    GL = work[:square].reshape((q, q, LANES))
    L = work[square : 2 * square].reshape((q, q, LANES))
    V = work[2 * square : 3 * square].reshape((q, q, LANES))
    B = work[3 * square : 3 * square + wide].reshape((q, k, LANES))
    R = work[3 * square + wide : 3 * square + 2 * wide].reshape((q, k, LANES))
    rest = work[3 * square + 2 * wide :]
    inv = rest[: q * LANES].reshape((q, LANES))
    det = rest[q * LANES : (q + 1) * LANES]
    logdet = 0.0
    for lo in range(0, J, LANES):
        m = min(LANES, J - lo)
        for a in range(q):
            for c in range(q):
                for j in range(m):
                    GL[a, c, j] = 0.0
                for b in range(q):
                    w = Lambda[b, c]
                    if w != 0.0:
                        for j in range(m):
                            GL[a, c, j] += G[a, b, lo + j] * w
        for a in range(q):
            for c in range(a + 1):
                one = 1.0 if a == c else 0.0
                for j in range(m):
                    L[a, c, j] = one
                for b in range(q):
                    w = Lambda[b, a]
                    if w != 0.0:
                        for j in range(m):
                            L[a, c, j] += w * GL[b, c, j]
        for j in range(m):
            det[j] = 1.0
        for c in range(q):
            for a in range(c, q):
                for t in range(c):
                    for j in range(m):
                        L[a, c, j] -= L[a, t, j] * L[c, t, j]
            for j in range(m):
                # Few logarithms, but before a product of many pivots overflows.
                if c % 4 == 3:
                    logdet += np.log(det[j])
                    det[j] = 1.0
                det[j] *= L[c, c, j]
                L[c, c, j] = np.sqrt(L[c, c, j])
                inv[c, j] = 1.0 / L[c, c, j]
            for a in range(c + 1, q):
                for j in range(m):
                    L[a, c, j] *= inv[c, j]
        for j in range(m):
            logdet += np.log(det[j])
        for c in range(k):
            for a in range(q):
                for j in range(m):
                    B[a, c, j] = 0.0
                for b in range(q):
                    w = Lambda[b, a]
                    if w != 0.0:
                        for j in range(m):
                            B[a, c, j] += w * H[b, c, lo + j]
                for t in range(a):
                    for j in range(m):
                        B[a, c, j] -= L[a, t, j] * B[t, c, j]
                for j in range(m):
                    B[a, c, j] *= inv[a, j]
        for c in range(k):
            for d in range(c + 1):
                for a in range(q):
                    total = 0.0
                    for j in range(m):
                        total += B[a, c, j] * B[a, d, j]
                    S[c, d] += total
        if not derivatives:
            continue
        # V = L^-1 (G Lambda)', so that N = G - V'V; R = H - V' B.
        for b in range(q):
            for a in range(q):
                for j in range(m):
                    V[a, b, j] = GL[b, a, j]
                for t in range(a):
                    for j in range(m):
                        V[a, b, j] -= L[a, t, j] * V[t, b, j]
                for j in range(m):
                    V[a, b, j] *= inv[a, j]
        for a in range(q):
            for b in range(a + 1):
                total = 0.0
                for j in range(m):
                    total += G[a, b, lo + j]
                for t in range(q):
                    for j in range(m):
                        total -= V[t, a, j] * V[t, b, j]
                N[a, b] += total
            for c in range(k):
                for j in range(m):
                    R[a, c, j] = H[a, c, lo + j]
                for t in range(q):
                    for j in range(m):
                        R[a, c, j] -= V[t, a, j] * B[t, c, j]
        for a in range(q):
            for c in range(k):
                for b in range(a + 1):
                    top = c + 1 if a == b else k
                    for d in range(top):
                        total = 0.0
                        for j in range(m):
                            total += R[a, c, j] * R[b, d, j]
                        D[a * k + c, b * k + d] += total
    return logdet
