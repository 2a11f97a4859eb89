"""Several grouping factors: eliminate the one with the most levels, then a dense Schur complement.

Factor 1 (most levels) is block diagonal. With V1 = I + Z1 P1 Z1', P = Lambda Lambda' a factor, and
R the columns of all other factors side by side (r of them),

    Q  = Z_R' V1^-1 Z_R = G_RR - sum_j K_j' E_j K_j       E_j = Lambda1 A_j^-1 Lambda1'
    q  = Z_R' V1^-1 W   = H_R  - sum_j K_j' E_j H_j       K_j = Z_1j' Z_R (sparse), H_j = Z_1j' W
    C  = I + Lambda_R' Q Lambda_R = L L'                  V^-1 = V1^-1 - V1^-1 Z_R D Z_R' V1^-1
    D  = Lambda_R C^-1 Lambda_R'
    log|V| = sum log|A_j| + log|C|                        W' V^-1 W = W' V1^-1 W - q' D q

and what the derivative of a function of (log|V|, S = W' V^-1 W) with respect to the P of any factor
takes: Z_f' V^-1 W by rows, and the diagonal blocks of Z_f' V^-1 Z_f. A singular Lambda is as good
as any other.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from scipy.linalg.lapack import dpotrf, dpotri

from hlm_models.algebra.gram import CHUNK, Scaling
from hlm_models.types import FloatArray, IntArray, frozen

__all__ = ["Coupled", "Sweep", "coupled", "sweep"]


REGULAR = 1e-3
"""Smallest singular value of a Lambda to divide by; below it a dense product is formed."""


@dataclass(frozen=True, slots=True)
class Coupled:
    """Cross-products of several factors in scaled coordinates.

    G (q1, q1, J1) and H (q1, k, J1) are factor 1's. The columns of the other factors are numbered
    0..r-1 factor by factor, level by level, effect by effect; `offsets` says where each factor
    starts. `entries` (nnz, q1) holds Z_1j' Z_c for the columns `columns` (nnz,) that level j meets,
    those of level j from `starts[j]` to `starts[j + 1]`. GR (r, r) is Z_R' Z_R, HR (r, k) Z_R' W.
    """

    G: FloatArray
    H: FloatArray
    T: FloatArray
    starts: IntArray
    columns: IntArray
    entries: FloatArray
    GR: FloatArray
    HR: FloatArray
    q: tuple[int, ...]
    J: tuple[int, ...]
    offsets: tuple[int, ...]
    n: int


def coupled(
    z: tuple[FloatArray, ...],
    level: tuple[IntArray, ...],
    J: tuple[int, ...],
    X: FloatArray,
    y: FloatArray,
    *,
    z_scaling: tuple[Scaling, ...],
    x_scaling: Scaling,
    y_fit: FloatArray,
) -> Coupled:
    """All cross-products by one pass over the rows; factor 1 comes first in the tuples."""
    q = tuple(part.shape[1] for part in z)
    sizes = [qf * Jf for qf, Jf in zip(q[1:], J[1:], strict=True)]
    offsets = tuple(int(at) for at in np.concatenate([[0], np.cumsum(sizes)]))
    r, k, n = offsets[-1], X.shape[1] + 1, len(y)
    G, H, T = np.zeros((q[0], q[0], J[0])), np.zeros((q[0], k, J[0])), np.zeros((k, k))
    GR, HR = np.zeros((r, r)), np.zeros((r, k))
    starts, columns, place = _pattern(level, q, J, offsets)
    entries = np.zeros((len(columns), q[0]))
    for lo in range(0, n, CHUNK):
        rows = slice(lo, min(lo + CHUNK, n))
        scaled = tuple(s.apply(part[rows]) for s, part in zip(z_scaling, z, strict=True))
        fixed = x_scaling.apply(X[rows])
        W = np.column_stack([fixed, y[rows] - fixed @ y_fit])
        T += np.einsum("nc,nd->cd", W, W)
        rest = np.column_stack([np.zeros((len(W), 0)), *scaled[1:]])
        at = np.column_stack(
            [
                offsets[f] + level[f + 1][rows][:, None] * q[f + 1] + np.arange(q[f + 1])
                for f in range(len(q) - 1)
            ]
        )
        _accumulate(scaled[0], level[0][rows], W, rest, at, place[rows], (G, H, entries, GR, HR))
    for array in (G, H, T, starts, columns, entries, GR, HR):
        frozen(array)
    return Coupled(G, H, T, starts, columns, entries, GR, HR, q, J, offsets, n)


def _pattern(
    level: tuple[IntArray, ...], q: tuple[int, ...], J: tuple[int, ...], offsets: tuple[int, ...]
) -> tuple[IntArray, IntArray, IntArray]:
    """Which columns of R each level of factor 1 meets, and each row's places in that list.

    Returns starts (J1 + 1,), columns (nnz,) sorted within a level, and place (n, columns a row).
    """
    first = level[0]
    keys = []
    for f in range(len(q) - 1):
        column = offsets[f] + level[f + 1][:, None] * q[f + 1] + np.arange(q[f + 1])
        keys.append(first[:, None] * np.int64(offsets[-1]) + column)
    stacked = np.column_stack(keys)
    unique, place = np.unique(stacked, return_inverse=True)
    owner, columns = np.divmod(unique, offsets[-1])
    starts = np.searchsorted(owner, np.arange(J[0] + 1))
    return starts.astype(np.int64), columns.astype(np.int64), place.reshape(stacked.shape)


@njit(cache=True)
def _accumulate(z, level, W, rest, at, place, out):  # type: ignore[no-untyped-def]
    """Add the cross-products of a block of rows."""
    G, H, entries, GR, HR = out
    n, q1 = z.shape
    k, width = W.shape[1], rest.shape[1]
    for i in range(n):
        j = level[i]
        for a in range(q1):
            for b in range(q1):
                G[a, b, j] += z[i, a] * z[i, b]
            for c in range(k):
                H[a, c, j] += z[i, a] * W[i, c]
        for s in range(width):
            for a in range(q1):
                entries[place[i, s], a] += z[i, a] * rest[i, s]
            for t in range(width):
                GR[at[i, s], at[i, t]] += rest[i, s] * rest[i, t]
            for c in range(k):
                HR[at[i, s], c] += rest[i, s] * W[i, c]


@dataclass(frozen=True, slots=True)
class Sweep:
    """What one pass gives: log|V|, S = W' V^-1 W, and what derivatives and predictions need.

    E (J1, q1, q1) are the E_j; Q (r, r), q (r, k), `inverse` = C^-1 (r, r), D (r, r) and Dq (r, k)
    as in the module's docstring.
    """

    logdet: float
    S: FloatArray
    blocks: Coupled
    E: FloatArray
    Lambda: tuple[FloatArray, ...]
    Q: FloatArray
    q: FloatArray
    inverse: FloatArray
    D: FloatArray
    Dq: FloatArray

    def derivative(self, weight: float, F: FloatArray) -> tuple[FloatArray, ...]:
        """M_f = df/dP_f for every factor, of f with df = weight d(log|V|) + tr(F dS)."""
        blocks = self.blocks
        first = np.zeros((blocks.q[0], blocks.q[0]))
        _first_derivative(
            blocks.G, blocks.H, self.E, blocks.starts, blocks.columns, blocks.entries,
            self.D, self.Dq, F, weight, first,
        )  # fmt: skip
        found = [(first + first.T) / 2]
        R = self.q - self.Q @ self.Dq
        for f, (qf, Jf) in enumerate(zip(blocks.q[1:], blocks.J[1:], strict=True)):
            here = slice(blocks.offsets[f], blocks.offsets[f + 1])
            N = self._within(f, qf)
            RF = R[here].reshape(Jf, qf, -1)
            M = weight * N - np.einsum("jac,cd,jbd->ab", RF, F, RF, optimize=True)
            found.append((M + M.T) / 2)
        return tuple(found)

    def _within(self, f: int, qf: int) -> FloatArray:
        """Sum over the levels of one of the other factors of Z_l' V^-1 Z_l (q_f, q_f)."""
        here = slice(self.blocks.offsets[f], self.blocks.offsets[f + 1])
        Lambda = self.Lambda[f + 1]
        if np.linalg.svd(Lambda, compute_uv=False).min() > REGULAR:
            # Lambda' Z' V^-1 Z Lambda = I - C^-1, which needs no further product of r x r.
            inner = np.eye(qf) * self.blocks.J[f + 1] - _sum_of_blocks(self.inverse[here, here], qf)
            half = np.linalg.solve(Lambda.T, inner)
            return np.asarray(np.linalg.solve(Lambda.T, half.T))
        QD = self.Q[here] @ self.D
        lost = np.array(
            [[np.sum(QD[a::qf] * self.Q[here][b::qf]) for b in range(qf)] for a in range(qf)]
        )
        return np.asarray(_sum_of_blocks(self.Q[here, here], qf) - lost)

    def effects(self, v: FloatArray) -> tuple[FloatArray, ...]:
        """Conditional means of b (J_f, q_f) given the weights v (k,) of W, v = (-beta, 1)."""
        blocks = self.blocks
        rest = self.Dq @ v
        first = np.zeros((blocks.J[0], blocks.q[0]))
        _first_effects(
            blocks.H, self.E, blocks.starts, blocks.columns, blocks.entries, v, rest, first
        )
        return (first, *self._split(rest))

    def effect_covariances(self) -> tuple[FloatArray, ...]:
        """Conditional covariances of b given beta, over sigma^2: (J_f, q_f, q_f) each."""
        blocks = self.blocks
        first = self.E.copy()
        _first_covariances(self.E, blocks.starts, blocks.columns, blocks.entries, self.D, first)
        found = [first]
        for f, (qf, Jf) in enumerate(zip(blocks.q[1:], blocks.J[1:], strict=True)):
            at = blocks.offsets[f] + np.arange(Jf)[:, None] * qf + np.arange(qf)
            found.append(self.D[at[:, :, None], at[:, None, :]])
        return tuple(found)

    def _split(self, rest: FloatArray) -> list[FloatArray]:
        blocks = self.blocks
        return [
            rest[blocks.offsets[f] : blocks.offsets[f + 1]].reshape(Jf, qf)
            for f, (qf, Jf) in enumerate(zip(blocks.q[1:], blocks.J[1:], strict=True))
        ]


def sweep(Lambda: tuple[FloatArray, ...], blocks: Coupled) -> Sweep:
    """The pass at any square Lambda_f (q_f, q_f), factor 1 first.

    Raises
    ------
    numpy.linalg.LinAlgError
        the Schur complement is not positive definite, which only overflow or not-finite numbers
        can bring about.

    Source: the blocked Cholesky factorisation of Bates et al. (2015), section 3, and of
    MixedModels.jl, in its form without a wide Z.
    """
    r = blocks.offsets[-1]
    logdet, E = _eliminate(Lambda[0], blocks.G)
    Q, q, S = blocks.GR.copy(), blocks.HR.copy(), blocks.T.copy()
    _subtract(blocks.H, E, blocks.starts, blocks.columns, blocks.entries, Q, q, S)
    Q = np.tril(Q) + np.tril(Q, -1).T
    C = np.eye(r) + _times(blocks, Lambda, _times(blocks, Lambda, Q).T)
    factor, failed = dpotrf((C + C.T) / 2, lower=True, overwrite_a=True, clean=True)
    if failed:
        raise np.linalg.LinAlgError("the Schur complement is not positive definite")
    logdet += 2 * float(np.sum(np.log(np.diag(factor))))
    inverse, _ = dpotri(factor, lower=True)
    inverse = np.ascontiguousarray(np.tril(inverse) + np.tril(inverse, -1).T)
    transposed = tuple(one.T for one in Lambda)
    D = _times(blocks, transposed, _times(blocks, transposed, inverse).T)
    Dq = D @ q
    return Sweep(logdet, S - q.T @ Dq, blocks, E, Lambda, Q, q, inverse, D, Dq)


def _sum_of_blocks(square: FloatArray, q: int) -> FloatArray:
    """Sum of the diagonal blocks (q, q) of a square matrix."""
    return np.array([[np.sum(np.diagonal(square[a::q, b::q])) for b in range(q)] for a in range(q)])


def _times(blocks: Coupled, Lambda: tuple[FloatArray, ...], right: FloatArray) -> FloatArray:
    """Lambda_R' right, block by block."""
    out = np.empty_like(right)
    for f, (qf, Jf) in enumerate(zip(blocks.q[1:], blocks.J[1:], strict=True)):
        here = slice(blocks.offsets[f], blocks.offsets[f + 1])
        part = right[here].reshape(Jf, qf, -1)
        out[here] = np.einsum("ab,jac->jbc", Lambda[f + 1], part).reshape(Jf * qf, -1)
    return out


def _eliminate(Lambda: FloatArray, G: FloatArray) -> tuple[float, FloatArray]:
    """Sum log|A_j| and E_j = Lambda A_j^-1 Lambda' (J, q, q)."""
    q = len(Lambda)
    A = np.eye(q) + Lambda.T @ np.moveaxis(G, -1, 0) @ Lambda
    L = np.linalg.cholesky(A)
    half = np.linalg.solve(L, np.broadcast_to(Lambda.T, A.shape))
    logdet = 2 * float(np.sum(np.log(np.diagonal(L, axis1=1, axis2=2))))
    return logdet, np.ascontiguousarray(np.swapaxes(half, 1, 2) @ half)


@njit(cache=True)
def _subtract(H, E, starts, columns, entries, Q, q, S):  # type: ignore[no-untyped-def]  # noqa: PLR0912
    """Q -= sum K'EK (lower triangle), q -= sum K'EH, S -= sum H'EH."""
    q1, k, J = H.shape
    EH = np.empty((q1, k))
    Ee = np.empty(q1)
    for j in range(J):
        for a in range(q1):
            for c in range(k):
                EH[a, c] = 0.0
                for b in range(q1):
                    EH[a, c] += E[j, a, b] * H[b, c, j]
        for c in range(k):
            for d in range(k):
                for a in range(q1):
                    S[c, d] -= H[a, c, j] * EH[a, d]
        for s in range(starts[j], starts[j + 1]):
            row = columns[s]
            for a in range(q1):
                Ee[a] = 0.0
                for b in range(q1):
                    Ee[a] += E[j, a, b] * entries[s, b]
            for t in range(starts[j], s + 1):
                total = 0.0
                for a in range(q1):
                    total += Ee[a] * entries[t, a]
                Q[row, columns[t]] -= total
            for c in range(k):
                for a in range(q1):
                    q[row, c] -= entries[s, a] * EH[a, c]


@njit(cache=True)
def _first_derivative(  # type: ignore[no-untyped-def]  # noqa: PLR0912
    G, H, E, starts, columns, entries, D, Dq, F, weight, M
):
    """Add to M (q1, q1) factor 1's sum of weight Z_j' V^-1 Z_j - R_j F R_j'."""
    q1, k, J = H.shape
    I_GE = np.empty((q1, q1))
    KDK = np.empty((q1, q1))
    DK = np.empty(q1)
    R = np.empty((q1, k))
    RF = np.empty((q1, k))
    inner = np.empty((q1, q1))
    for j in range(J):
        for a in range(q1):
            for b in range(q1):
                total = 1.0 if a == b else 0.0
                for c in range(q1):
                    total -= G[a, c, j] * E[j, c, b]
                I_GE[a, b] = total
                KDK[a, b] = 0.0
            for c in range(k):
                R[a, c] = H[a, c, j]
        # K D K' and K D q over the columns that this level meets.
        for s in range(starts[j], starts[j + 1]):
            for a in range(q1):
                DK[a] = 0.0
            for t in range(starts[j], starts[j + 1]):
                d = D[columns[s], columns[t]]
                for a in range(q1):
                    DK[a] += d * entries[t, a]
            for a in range(q1):
                for b in range(q1):
                    KDK[a, b] += entries[s, a] * DK[b]
                for c in range(k):
                    R[a, c] -= entries[s, a] * Dq[columns[s], c]
        # Z' V^-1 Z = (I - G E) (G - K D K' (I - E G)): both sides of K carry I - G E.
        for a in range(q1):
            for b in range(q1):
                total = G[a, b, j]
                for c in range(q1):
                    total -= KDK[a, c] * I_GE[b, c]
                inner[a, b] = total
        for a in range(q1):
            for c in range(k):
                total = 0.0
                for b in range(q1):
                    total += I_GE[a, b] * R[b, c]
                RF[a, c] = total
        for a in range(q1):
            for b in range(q1):
                total = 0.0
                for c in range(q1):
                    total += I_GE[a, c] * inner[c, b]
                M[a, b] += weight * total
                for c in range(k):
                    for d in range(k):
                        M[a, b] -= RF[a, c] * F[c, d] * RF[b, d]


@njit(cache=True)
def _first_effects(H, E, starts, columns, entries, v, rest, out):  # type: ignore[no-untyped-def]
    """b_j = E_j (H_j v - K_j b_R)."""
    q1, k, J = H.shape
    right = np.empty(q1)
    for j in range(J):
        for a in range(q1):
            right[a] = 0.0
            for c in range(k):
                right[a] += H[a, c, j] * v[c]
        for s in range(starts[j], starts[j + 1]):
            for a in range(q1):
                right[a] -= entries[s, a] * rest[columns[s]]
        for a in range(q1):
            for b in range(q1):
                out[j, a] += E[j, a, b] * right[b]


@njit(cache=True)
def _first_covariances(E, starts, columns, entries, D, out):  # type: ignore[no-untyped-def]
    """E_j + E_j K_j D K_j' E_j."""
    J, q1, _ = E.shape
    KDK = np.empty((q1, q1))
    for j in range(J):
        KDK[:] = 0.0
        for s in range(starts[j], starts[j + 1]):
            for t in range(starts[j], starts[j + 1]):
                d = D[columns[s], columns[t]]
                for a in range(q1):
                    for b in range(q1):
                        KDK[a, b] += entries[s, a] * d * entries[t, b]
        for a in range(q1):
            for b in range(q1):
                for c in range(q1):
                    for e in range(q1):
                        out[j, a, b] += E[j, a, c] * KDK[c, e] * E[j, e, b]
