"""Several grouping factors: eliminate the one with the most levels, then a Schur complement.

Factor 1 (most levels) is block diagonal. With V1 = I + Z1 P1 Z1', P = Lambda Lambda' a factor,
R the columns of all other factors side by side (r of them), Lambda_R their block-diagonal factor,

    E_j = Lambda1 A_j^-1 Lambda1'    K_j = Z_1j' Z_R Lambda_R (sparse)    H_j = Z_1j' W
    C = I + Lambda_R' Z_R' V1^-1 Z_R Lambda_R = I + Lambda_R' Z_R' Z_R Lambda_R - sum K_j' E_j K_j
    q = Lambda_R' Z_R' V1^-1 W = Lambda_R' Z_R' W - sum K_j' E_j H_j        U = C^-1 q
    log|V| = sum log|A_j| + log|C|             W' V^-1 W = T - sum H_j' E_j H_j - q' U

and, since Lambda_R' Z_R' V^-1 Z_R Lambda_R = I - C^-1 and Lambda_R' Z_R' V^-1 W = U, derivatives
with respect to the other factors' P follow from the diagonal blocks of C^-1 and from U. They are
smooth in P: where a Lambda is singular, they are extrapolated from two that are not.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit

from hlm_models.algebra.coupling import Coupled
from hlm_models.algebra.kernel import eliminate
from hlm_models.algebra.schur import Inverse
from hlm_models.types import FloatArray, IntArray

__all__ = ["Sweep", "sweep"]

LIFT = 1e-5
"""Added to the P of a singular Lambda, over the size of the largest Z'Z, to go round it."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """What one pass gives: log|V|, S = W' V^-1 W, and what derivatives and predictions need.

    E (J1, q1, q1), K (nnz, q1) at `blocks.columns`, and U (r, k) are those of the module's
    docstring; `inverse` is C^-1.
    """

    logdet: float
    S: FloatArray
    blocks: Coupled
    Lambda: tuple[FloatArray, ...]
    E: FloatArray
    K: FloatArray
    U: FloatArray
    inverse: Inverse

    def derivative(self, weight: float, F: FloatArray) -> tuple[FloatArray, ...]:
        """M_f = df/dP_f for every factor, of f with df = weight d(log|V|) + tr(F dS)."""
        blocks = self.blocks
        first = np.zeros((blocks.q[0], blocks.q[0]))
        inverse = self.inverse.pairs()
        _first_derivative(
            blocks.G, blocks.H, self.E, blocks.starts, blocks.columns, self.K, inverse,
            blocks.complement.pair_slots, blocks.size, self.U, F, weight, first,
        )  # fmt: skip
        found = [(first + first.T) / 2]
        lift = [0.0, *(LIFT / max(1.0, self._largest(f)) for f in range(1, len(blocks.q)))]
        singular = [
            f > 0 and np.linalg.svd(Lambda, compute_uv=False).min() ** 2 < lift[f]
            for f, Lambda in enumerate(self.Lambda)
        ]
        if any(singular):
            once, twice = (
                sweep(
                    tuple(
                        np.linalg.cholesky(Lambda @ Lambda.T + times * by * np.eye(len(Lambda)))
                        if lifted
                        else Lambda
                        for Lambda, by, lifted in zip(self.Lambda, lift, singular, strict=True)
                    ),
                    blocks,
                )
                for times in (1, 2)
            )
        for f in range(1, len(blocks.q)):
            found.append(
                2 * once._other(f, weight, F) - twice._other(f, weight, F)
                if singular[f]
                else self._other(f, weight, F)
            )
        return tuple(found)

    def _other(self, f: int, weight: float, F: FloatArray) -> FloatArray:
        """M of a factor but the first, whose Lambda is regular."""
        blocks, Lambda = self.blocks, self.Lambda[f]
        q, J = blocks.q[f], blocks.J[f]
        U = self.U[blocks.offsets[f - 1] : blocks.offsets[f]].reshape(J, q, -1)
        inner = weight * (J * np.eye(q) - np.sum(self._diagonal_blocks(f), axis=0))
        inner -= np.einsum("jac,cd,jbd->ab", U, F, U, optimize=True)
        half = np.linalg.solve(Lambda.T, (inner + inner.T) / 2)
        return np.asarray(np.linalg.solve(Lambda.T, half.T))

    def _largest(self, f: int) -> float:
        """Largest Z_l' Z_l, by its trace, of the levels of a factor but the first."""
        cells = self.blocks.cells[f - 1, f - 1]
        return float(np.trace(cells.values, axis1=1, axis2=2).max())

    def _diagonal_blocks(self, f: int) -> FloatArray:
        """Blocks (J, q, q) of C^-1 on the diagonal, one a level of a factor but the first."""
        q, J, offset = self.blocks.q[f], self.blocks.J[f], self.blocks.offsets[f - 1]
        found = np.empty((J, q, q))
        start = offset + np.arange(J, dtype=np.int64) * q
        for a in range(q):
            for b in range(a + 1):
                found[:, a, b] = found[:, b, a] = self.inverse.at(start + a, start + b)
        return found

    def gains(self) -> tuple[FloatArray, ...]:
        """What W says about b: conditional means are gains (J_f, q_f, k) @ v, v = (-beta, 1)."""
        blocks = self.blocks
        first = np.empty((blocks.J[0], blocks.q[0], self.U.shape[1]))
        _first_gains(blocks.H, self.E, blocks.starts, blocks.columns, self.K, self.U, first)
        found = [first]
        for f in range(1, len(blocks.q)):
            here = slice(blocks.offsets[f - 1], blocks.offsets[f])
            found.append(self.Lambda[f] @ self.U[here].reshape(blocks.J[f], blocks.q[f], -1))
        return tuple(found)

    def effects(self, v: FloatArray) -> tuple[FloatArray, ...]:
        """Conditional means of b (J_f, q_f) given the weights v (k,) of W, v = (-beta, 1)."""
        return tuple(gain @ v for gain in self.gains())

    def effect_covariances(self) -> tuple[FloatArray, ...]:
        """Conditional covariances of b given beta, over sigma^2: (J_f, q_f, q_f) each."""
        blocks = self.blocks
        first = self.E.copy()
        _first_covariances(
            self.E, blocks.starts, blocks.columns, self.K, self.inverse.pairs(),
            blocks.complement.pair_slots, blocks.size, first,
        )  # fmt: skip
        found = [first]
        for f in range(1, len(blocks.q)):
            Lambda = self.Lambda[f]
            found.append(Lambda @ self._diagonal_blocks(f) @ Lambda.T)
        return tuple(found)

    def quadratic(self, z: tuple[FloatArray, ...], level: tuple[IntArray, ...]) -> FloatArray:
        """Conditional variance over sigma^2 of sum_f z_f' b_f for rows of z_f (m, q_f).

        A level (m,) of -1 is none: it adds nothing.
        """
        blocks, m = self.blocks, len(level[0])
        # The columns of a row among those of all factors but the first, and w there at first.
        own = np.concatenate(
            [
                np.where(at[:, None] < 0, -1, start + at[:, None] * q + np.arange(q))
                for start, at, q in zip(blocks.offsets[:-1], level[1:], blocks.q[1:], strict=True)
            ],
            axis=1,
        )
        parts = np.concatenate(
            [part @ Lambda for part, Lambda in zip(z[1:], self.Lambda[1:], strict=True)], axis=1
        )
        # w = Lambda_R' z_R - K_j' E_j z_1, and z' Cov z = z_1' E_j z_1 + w' C^-1 w.
        found, left = np.zeros(m), np.zeros(m, dtype=np.bool_)
        _met_rows(
            z[0], level[0], own, parts, self.E, blocks.starts, blocks.columns, self.K,
            self.inverse.pairs(), blocks.complement.pair_slots, blocks.size, found, left,
        )  # fmt: skip
        rest = np.flatnonzero(left)
        step = max(1, 4_000_000 // blocks.size)
        for lo in range(0, len(rest), step):
            rows = rest[lo : lo + step]
            w = np.zeros((blocks.size, len(rows)))
            found[rows] = _start_rows(
                z[0][rows], level[0][rows], self.E, blocks.starts, blocks.columns, self.K, w
            )
            for column, part in zip(own[rows].T, parts[rows].T, strict=True):
                [known] = np.nonzero(column >= 0)
                w[column[known], known] += part[known]
            found[rows] += np.einsum("rm,rm->m", w, self.inverse.times(w))
        return found

    def covariance(self, z: tuple[FloatArray, ...], level: tuple[IntArray, ...]) -> FloatArray:
        """Conditional covariances over sigma^2 of sum_f z_f' b_f among rows: (m, m).

        The rows are such as the blocks have: their levels have met.
        """
        blocks, m = self.blocks, len(level[0])
        w = np.zeros((blocks.size, m))
        _start_rows(z[0], level[0], self.E, blocks.starts, blocks.columns, self.K, w)
        others = zip(
            z[1:], level[1:], self.Lambda[1:], blocks.offsets[:-1], blocks.q[1:], strict=True
        )
        for part, at, Lambda, start, q in others:
            own = start + at[:, None] * q + np.arange(q)
            w[own, np.arange(m)[:, None]] += part @ Lambda
        first = np.einsum("ia,iab,kb->ik", z[0], self.E[level[0]], z[0], optimize=True)
        first[level[0][:, None] != level[0]] = 0.0
        j = level[0][0]
        if np.any(level[0] != j):
            return np.asarray(first + w.T @ self.inverse.times(w))
        # All pairs of the columns that one level has met are there without solving.
        met = blocks.columns[blocks.starts[j] : blocks.starts[j + 1]]
        inverse = self.inverse.at(np.maximum.outer(met, met), np.minimum.outer(met, met))
        return np.asarray(first + w[met].T @ inverse @ w[met])


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
    logdet, E = eliminate(Lambda[0], blocks.G)
    complement = blocks.complement
    stacked = np.zeros((len(Lambda) - 1, max(blocks.q), max(blocks.q)))
    for f, one in enumerate(Lambda[1:]):
        stacked[f, : len(one), : len(one)] = one
    K = np.empty_like(blocks.entries)
    _times_factor(blocks.entries, blocks.columns, blocks.factor, stacked, np.array(blocks.q[1:]), K)
    C = complement.zeros()
    diagonal = np.arange(blocks.size)
    C[complement.slots(diagonal, diagonal)] = 1.0
    for (f, g), cells in blocks.cells.items():
        # Below the diagonal: the later factor's columns are the rows.
        values = Lambda[g + 1].T @ np.swapaxes(cells.values, 1, 2) @ Lambda[f + 1]
        rows = blocks.offsets[g] + cells.right * blocks.q[g + 1]
        columns = blocks.offsets[f] + cells.left * blocks.q[f + 1]
        for a in range(blocks.q[g + 1]):
            for b in range(a + 1 if f == g else blocks.q[f + 1]):
                C[complement.slots(rows + a, columns + b)] += values[:, a, b]
    U = np.concatenate(
        [
            (one.T @ blocks.HR[start:stop].reshape(J, q, -1)).reshape(J * q, -1)
            for one, start, stop, J, q in zip(
                Lambda[1:], blocks.offsets[:-1], blocks.offsets[1:], blocks.J[1:], blocks.q[1:],
                strict=True,
            )
        ]
    )  # fmt: skip
    S = blocks.T.copy()
    _subtract(
        blocks.H, E, blocks.starts, blocks.columns, K, complement.pair_slots, blocks.size, C, U, S
    )
    inverse = complement.invert(C)
    q, U = U, inverse.times(U)
    return Sweep(logdet + inverse.logdet, S - q.T @ U, blocks, Lambda, E, K, U, inverse)


@njit(cache=True)
def _times_factor(entries, columns, factor, Lambda, q, K):  # type: ignore[no-untyped-def]
    """K = Z_1' Z_R Lambda_R; the columns of one level stand side by side."""
    s = 0
    while s < len(columns):
        f = factor[columns[s]]
        for c in range(q[f]):
            for a in range(entries.shape[1]):
                total = 0.0
                for b in range(q[f]):
                    total += entries[s + b, a] * Lambda[f, b, c]
                K[s + c, a] = total
        s += q[f]


@njit(cache=True)
def _subtract(H, E, starts, columns, K, slots, size, C, U, S):  # type: ignore[no-untyped-def]  # noqa: PLR0912
    """C -= sum K'EK (lower triangle), U -= sum K'EH, S -= sum H'EH."""
    q1, k, J = H.shape
    EH = np.empty((q1, k))
    EK = np.empty(q1)
    dense = len(slots) == 0
    pair = 0
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
            row = columns[s] * size
            for a in range(q1):
                EK[a] = 0.0
                for b in range(q1):
                    EK[a] += E[j, a, b] * K[s, b]
            if dense and q1 == 1:
                for t in range(starts[j], s + 1):
                    C[row + columns[t]] -= EK[0] * K[t, 0]
            else:
                for t in range(starts[j], s + 1):
                    total = 0.0
                    for a in range(q1):
                        total += EK[a] * K[t, a]
                    C[row + columns[t] if dense else slots[pair]] -= total
                    pair += 1
            for c in range(k):
                for a in range(q1):
                    U[columns[s], c] -= K[s, a] * EH[a, c]


@njit(cache=True)
def _sandwich(j, starts, columns, K, inverse, slots, size, pair, out):  # type: ignore[no-untyped-def]
    """K_j C^-1 K_j' into `out` (q1, q1); the number of pairs after those of level j."""
    q1 = K.shape[1]
    dense = len(slots) == 0
    out[:] = 0.0
    for s in range(starts[j], starts[j + 1]):
        row = columns[s] * size
        for a in range(q1):
            # Row s of the lower triangle times K', the diagonal counted half.
            total = 0.0
            if dense:
                for t in range(starts[j], s):
                    total += inverse[row + columns[t]] * K[t, a]
                total += 0.5 * inverse[row + columns[s]] * K[s, a]
            else:
                for t in range(starts[j], s):
                    total += inverse[slots[pair + t - starts[j]]] * K[t, a]
                total += 0.5 * inverse[slots[pair + s - starts[j]]] * K[s, a]
            for b in range(q1):
                out[a, b] += total * K[s, b]
        pair += s - starts[j] + 1
    for a in range(q1):
        for b in range(a + 1):
            out[a, b] = out[b, a] = out[a, b] + out[b, a]
    return pair


@njit(cache=True)
def _first_derivative(  # type: ignore[no-untyped-def]  # noqa: PLR0912
    G, H, E, starts, columns, K, inverse, slots, size, U, F, weight, M
):
    """Add to M (q1, q1) factor 1's sum of weight Z_j' V^-1 Z_j - R_j F R_j', R_j = Z_j' V^-1 W."""
    q1, k, J = H.shape
    I_GE = np.empty((q1, q1))
    KCK = np.empty((q1, q1))
    R = np.empty((q1, k))
    RF = np.empty((q1, k))
    inner = np.empty((q1, q1))
    pair = 0
    for j in range(J):
        for a in range(q1):
            for b in range(q1):
                total = 1.0 if a == b else 0.0
                for c in range(q1):
                    total -= G[a, c, j] * E[j, c, b]
                I_GE[a, b] = total
            for c in range(k):
                R[a, c] = H[a, c, j]
        pair = _sandwich(j, starts, columns, K, inverse, slots, size, pair, KCK)
        for s in range(starts[j], starts[j + 1]):
            for a in range(q1):
                for c in range(k):
                    R[a, c] -= K[s, a] * U[columns[s], c]
        # Z' V^-1 Z = (I - G E) (G - K C^-1 K' (I - E G)): both sides of K carry I - G E.
        for a in range(q1):
            for b in range(q1):
                total = G[a, b, j]
                for c in range(q1):
                    total -= KCK[a, c] * I_GE[b, c]
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
def _first_gains(H, E, starts, columns, K, U, out):  # type: ignore[no-untyped-def]
    """E_j (H_j - K_j U)."""
    q1, k, J = H.shape
    right = np.empty((q1, k))
    for j in range(J):
        for a in range(q1):
            for c in range(k):
                right[a, c] = H[a, c, j]
        for s in range(starts[j], starts[j + 1]):
            for a in range(q1):
                for c in range(k):
                    right[a, c] -= K[s, a] * U[columns[s], c]
        for a in range(q1):
            for c in range(k):
                out[j, a, c] = 0.0
                for b in range(q1):
                    out[j, a, c] += E[j, a, b] * right[b, c]


@njit(cache=True)
def _first_covariances(E, starts, columns, K, inverse, slots, size, out):  # type: ignore[no-untyped-def]
    """E_j + E_j K_j C^-1 K_j' E_j."""
    J, q1, _ = E.shape
    KCK = np.empty((q1, q1))
    pair = 0
    for j in range(J):
        pair = _sandwich(j, starts, columns, K, inverse, slots, size, pair, KCK)
        for a in range(q1):
            for b in range(q1):
                for c in range(q1):
                    for e in range(q1):
                        out[j, a, b] += E[j, a, c] * KCK[c, e] * E[j, e, b]


@njit(cache=True)
def _met_rows(  # type: ignore[no-untyped-def]  # noqa: PLR0912
    z, level, own, parts, E, starts, columns, K, inverse, slots, size, found, left
):
    """Variances of the rows whose own columns their level of factor 1 has met; `left` the others.

    All pairs of columns are then among those that this level has added to C.
    """
    m, q1 = z.shape
    dense = len(slots) == 0
    pairs = np.zeros(len(starts), dtype=np.int64)
    most = 0
    for j in range(len(starts) - 1):
        met = starts[j + 1] - starts[j]
        pairs[j + 1] = pairs[j] + met * (met + 1) // 2
        most = max(most, met)
    w = np.empty(most)
    Ez = np.empty(q1)
    for i in range(m):
        j = level[i]
        if j < 0:
            left[i] = own[i].max() >= 0
            continue
        here = columns[starts[j] : starts[j + 1]]
        for a in range(q1):
            Ez[a] = 0.0
            for b in range(q1):
                Ez[a] += E[j, a, b] * z[i, b]
        for s in range(len(here)):
            w[s] = 0.0
            for a in range(q1):
                w[s] -= K[starts[j] + s, a] * Ez[a]
        for c in range(own.shape[1]):
            if own[i, c] < 0:
                continue
            s = np.searchsorted(here, own[i, c])
            if s == len(here) or here[s] != own[i, c]:
                left[i] = True
                break
            w[s] += parts[i, c]
        if left[i]:
            continue
        for a in range(q1):
            found[i] += z[i, a] * Ez[a]
        pair = pairs[j]
        for s in range(len(here)):
            row = here[s] * size
            total = 0.0
            for t in range(s):
                total += w[t] * inverse[row + here[t] if dense else slots[pair + t]]
            diagonal = inverse[row + here[s] if dense else slots[pair + s]]
            found[i] += w[s] * (2 * total + w[s] * diagonal)
            pair += s + 1


@njit(cache=True)
def _start_rows(z, level, E, starts, columns, K, w):  # type: ignore[no-untyped-def]
    """Returns z' E_j z a row; adds - K_j' E_j z to the columns of w (r, m)."""
    m, q1 = z.shape
    found = np.zeros(m)
    Ez = np.empty(q1)
    for i in range(m):
        j = level[i]
        if j < 0:
            continue
        for a in range(q1):
            Ez[a] = 0.0
            for b in range(q1):
                Ez[a] += E[j, a, b] * z[i, b]
            found[i] += z[i, a] * Ez[a]
        for s in range(starts[j], starts[j + 1]):
            for a in range(q1):
                w[columns[s], i] -= K[s, a] * Ez[a]
    return found
